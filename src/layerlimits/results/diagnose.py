"""Runs the diagnostics over a run's stored answers."""

from collections.abc import Iterator
from typing import Any

from layerlimits.diagnostics import Answered, Diagnostic
from layerlimits.plugins import find, names
from layerlimits.results.stored_answers import Book
from layerlimits.statistics import intervals


def diagnose(book: Book) -> Iterator[dict[str, Any]]:
    """Every diagnostic's mean measures with intervals, for every model of the run and task it applies to."""
    diagnostics: list[Diagnostic] = [find("diagnostics", name) for name in names("diagnostics")]
    for label, model in _models(book).items():
        for task in book.tasks:
            chosen = [one for one in diagnostics if applies(one, task)]
            answered = _answered(book, model, task) if chosen else None
            for diagnostic in chosen if answered else ():
                yield from _measured(diagnostic, label, task["name"], answered or [])


def applies(diagnostic: Diagnostic, task: dict[str, Any]) -> bool:
    """Whether a diagnostic looks at a task's answers: generated ones, and of its tasks if it names some."""
    return task["kind"] == "generation" and (diagnostic.tasks is None or task["name"] in diagnostic.tasks)


def _models(book: Book) -> dict[str, str]:
    """Labels and fingerprints: the base, each skipped layer, each plan, each finetuned model."""
    models = {"base": book.fingerprint(())}
    for layer in range((book.store.get("base") or {})["layers"]):
        models[f"without {layer}"] = book.fingerprint((layer,))
    for plan in book.store.get("plans") or []:
        models[f"{plan['method']} {plan['layers']}"] = book.fingerprint(plan["removed"])
    for entry in book.recovered():
        models[f"{entry['method']} {entry['layers']}, recovered ({entry['name']})"] = entry["fingerprint"]
    return models


def _answered(book: Book, model: str, task: dict[str, Any]) -> list[Answered] | None:
    answers = book.answers(model, task)
    if answers is None:
        return None
    contents = book.contents(task["name"])
    return [
        Answered(contents[item]["prompt"], contents[item]["target"], response, verdict)
        for item, (response, verdict) in zip(task["ids"], answers, strict=True)
    ]


def _measured(diagnostic: Diagnostic, label: str, task: str, answered: list[Answered]) -> Iterator[dict[str, Any]]:
    values: dict[str, list[float]] = {}
    for one in answered:
        for measure, value in diagnostic.measure(one).items():
            values.setdefault(measure, []).append(value)
    for measure, numbers in values.items():
        found = intervals.mean(measure, numbers)
        yield {
            "diagnostic": diagnostic.name,
            "model": label,
            "task": task,
            "measure": measure,
            "value": {"estimate": found.estimate, "low": found.low, "high": found.high, "n": found.n},
        }
