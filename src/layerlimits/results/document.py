"""From stored answers to figures: reads a run folder's database and nothing else."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from layerlimits.errors import UserError
from layerlimits.evaluation.store import Store
from layerlimits.results.diagnose import diagnose
from layerlimits.results.figures import Figure, compared, correct, figure, summary
from layerlimits.results.headline import answer
from layerlimits.results.notes import notes, protocols, warnings
from layerlimits.results.stored_answers import Book
from layerlimits.statistics import intervals


def findings(store: Store) -> dict[str, Any]:
    """Everything a report shows; see docs/results.md for its form.

    Raises:
        UserError: the folder holds no study, or not even the unpruned model has been evaluated.
    """
    book = Book(store)
    tasks = list(_tasks(book))
    if not tasks:
        raise UserError(
            f"{store.folder} holds no finished task of the unpruned model", "resume it with `layerlimits study`"
        )
    sweep, pruned, classes = list(_sweep(book)), list(_pruned(book)), list(_classes(book))
    # Each is a family of tests that are looked at together.
    correct(row["test"] for row in sweep)
    correct(row["test"] for row in pruned)
    manifest = book.manifest
    results: dict[str, Any] = {
        "made_by": manifest["made_by"],
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": manifest["command"],
        "preset": manifest["config"]["preset"],
        "seed": manifest["config"]["seed"],
        "config": manifest["config"],
        "calibration": (store.get("calibration") or {})["source"],
        "model": store.get("base"),
        "tasks": tasks,
        "sweep": sweep,
        "methods": list(_methods(store)),
        "pruned": pruned,
        "classes": classes,
        "protocols": list(protocols(book)),
        "recovery": list(_recovery(book)),
        "diagnostics": list(diagnose(book)),
        "speed": list(_speed(store)),
        "samples": list(_samples(book)),
        "stages": [{"stage": name, "seconds": spent} for name, spent in (store.get("stages") or {}).items()],
        "notes": list(notes(book)),
        "warnings": list(warnings(book, tasks)),
    }
    results["answer"] = answer(results)
    return results


def _tasks(book: Book) -> Iterator[dict[str, Any]]:
    for task in book.tasks:
        verdicts = book.verdicts(book.fingerprint(()), task)
        if verdicts:
            found = summary(verdicts, len(task["ids"]), [task["sets"].get(item) for item in task["ids"]])
            yield {key: value for key, value in task.items() if key not in ("ids", "sets")} | found


def _compared(book: Book, model: str, task: dict[str, Any]) -> dict[str, Any] | None:
    """Score and retention of a model on a task, chance-corrected too where there is a chance."""
    base, values = book.values(book.fingerprint(()), task), book.values(model, task)
    verdicts = book.verdicts(model, task)
    if base is None or values is None or verdicts is None:
        return None
    name, n = task["name"], len(task["ids"])
    corrected = intervals.retention(name, base, values, task["chance"]) if task["chance"] else None
    found = summary(verdicts, n, [None] * n)
    return {
        "task": name,
        "chance": task["chance"],
        "score": found["score"],
        "strict": found["strict"],
        "retention": figure(intervals.retention(name, base, values)),
        "corrected": figure(corrected),
        "test": compared(base, values),
    }


def _sweep(book: Book) -> Iterator[dict[str, Any]]:
    for layer in range((book.store.get("base") or {})["layers"]):
        for task in book.tasks:
            compared = _compared(book, book.fingerprint((layer,)), task)
            if compared:
                yield {"layer": layer, **compared}


def _methods(store: Store) -> Iterator[dict[str, Any]]:
    for name, ranking in (store.get("rankings") or {}).items():
        shown = {key: ranking[key] for key in ("order", "scores", "source", "seconds")}
        yield {"method": name, **shown, "items": len(ranking["used"])}


def _pruned(book: Book) -> Iterator[dict[str, Any]]:
    for plan in book.store.get("plans") or []:
        for task in book.tasks:
            compared = _compared(book, book.fingerprint(plan["removed"]), task)
            if compared:
                yield {**plan, **compared}


def _classes(book: Book) -> Iterator[dict[str, Any]]:
    """Mean retention over the tasks of a class."""
    whole = book.fingerprint(())
    for plan in book.store.get("plans") or []:
        for kind in ("choice", "generation"):
            tasks = [task for task in book.tasks if task["kind"] == kind]
            model = book.fingerprint(plan["removed"])
            found = [(book.values(whole, task), book.values(model, task)) for task in tasks]
            pairs = [(base, other) for base, other in found if base is not None and other is not None]
            if not tasks or len(pairs) < len(tasks):
                continue
            chances = [task["chance"] for task in tasks]
            usable = [intervals.above(base, chance) for (base, _), chance in zip(pairs, chances, strict=True)]
            yield {
                **plan,
                "kind": kind,
                "chance": max(chances),
                "retention": figure(intervals.shared(kind, pairs)),
                "corrected": figure(intervals.shared(kind, pairs, chances)) if any(chances) else None,
                "tasks": [task["name"] for task, counts in zip(tasks, usable, strict=True) if counts],
                "left_out": [task["name"] for task, counts in zip(tasks, usable, strict=True) if not counts],
            }


def _recovery(book: Book) -> Iterator[dict[str, Any]]:
    for entry in book.recovered():
        tasks = [row for task in book.tasks if (row := _regained(book, entry, task))]
        yield {**{key: value for key, value in entry.items() if key != "fingerprint"}, "tasks": tasks}


def _regained(book: Book, entry: dict[str, Any], task: dict[str, Any]) -> dict[str, Any] | None:
    models = (book.fingerprint(()), book.fingerprint(entry["removed"]), entry["fingerprint"])
    base, pruned, recovered = (book.values(model, task) for model in models)
    if base is None or pruned is None or recovered is None:
        return None
    name = task["name"]
    return {
        "task": name,
        "kind": task["kind"],
        "base": figure(intervals.mean(name, base)),
        "pruned": figure(intervals.mean(name, pruned)),
        "recovered": figure(intervals.mean(name, recovered)),
        "regained": figure(intervals.regained(name, base, pruned, recovered)),
    }


def _speed(store: Store) -> Iterator[dict[str, Any]]:
    measured = store.get("speed") or []
    for timing in measured:
        removed, rates = sorted(timing["removed"]), timing["tokens_per_s"]
        ratios = [rate / base for rate, base in zip(rates, measured[0]["tokens_per_s"], strict=True)]
        yield {
            "model": f"without {len(removed)} layer{'s' * (len(removed) > 1)}" if removed else "base",
            "removed": removed,
            "parameters": timing["parameters"],
            "weight_bytes": timing["weight_bytes"],
            "peak_bytes": timing["memory_bytes"],
            "tokens_per_s": _median(rates),
            "speedup": _median(ratios) if removed else None,
        }


def _median(values: Sequence[float]) -> Figure:
    """Median with the range: too few repeats for an interval, so the extremes stand in for it."""
    ordered = sorted(values)
    return {"estimate": ordered[len(ordered) // 2], "low": ordered[0], "high": ordered[-1], "n": len(ordered)}


def _samples(book: Book) -> Iterator[dict[str, Any]]:
    """Items the unpruned model gets right, first those that the pruned one lost, with each model's answer."""
    entries = book.recovered()
    if not entries:
        return
    widest = max(entries, key=lambda entry: entry["layers"])
    label = f"without {widest['layers']} layers ({widest['method']})"
    models = {"base": book.fingerprint(()), label: book.fingerprint(widest["removed"])}
    models |= {
        f"recovered ({entry['name']})": entry["fingerprint"]
        for entry in entries
        if entry["removed"] == widest["removed"]
    }
    for task in book.tasks:
        if task["kind"] == "generation":
            yield from _task_samples(book, task, models)


def _task_samples(book: Book, task: dict[str, Any], models: dict[str, str], most: int = 3) -> Iterator[dict[str, Any]]:
    columns = {label: book.answers(model, task) for label, model in models.items()}
    complete = {label: column for label, column in columns.items() if column}
    if len(complete) < len(models):
        return
    base, pruned = list(complete.values())[:2]
    right = [at for at in range(len(base)) if base[at][1].outcome == "correct"]
    lost_first = sorted(right, key=lambda at: pruned[at][1].outcome == "correct")
    contents = book.contents(task["name"])
    for at in lost_first[:most]:
        content = contents[task["ids"][at]]
        answers = [
            {"model": label, "text": column[at][0].text, "outcome": column[at][1].outcome, "value": column[at][1].value}
            for label, column in complete.items()
        ]
        yield {"task": task["name"], "prompt": content["prompt"], "target": content["target"], "answers": answers}
