"""`evaluate` and `sweep`: scores without choosing or removing anything for good."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from layerlimits.commands.asking import Asking
from layerlimits.commands.opened import Opened
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.progress import Bar
from layerlimits.results import warnings as cautions
from layerlimits.results.figures import by_item, compared, correct, figure, recognized_only, summary
from layerlimits.statistics import intervals
from layerlimits.types import Sample, Task, Verdict

Items = list[tuple[Task, list[Sample]]]


def evaluate(opened: Opened, asking: Asking) -> dict[str, Any]:
    """Scores by task: {"model", "fingerprint", "scores": {task: {"score", "low", "high", "n", ...}}, "protocols",
    "warnings"}.
    """
    items = asking.items()
    with opened.evaluator(engine="hflm", **asking.evaluator()) as evaluator:
        scores: dict[str, Any] = {}
        values: dict[str, list[float]] = {}
        with Bar(sum(evaluator.draws(task) * len(samples) for task, samples in items)) as bar:
            for task, samples in items:
                with bar.stage(task.name):
                    (verdicts,) = evaluator.verdicts([()], task, samples, bar.advance)
                scores[task.name] = _score(evaluator, task, samples, verdicts)
                values[task.name] = _item_values(verdicts, samples)
        return {
            "model": opened.model,
            "fingerprint": evaluator.loaded.ref.fingerprint,
            "decoding": asking.decoding.name(0).removesuffix(" #0"),
            "scores": scores,
            "protocols": _protocols(items, scores, values),
            "warnings": _warnings(evaluator, items, scores, asking.difference),
        }


def _score(evaluator: Evaluator, task: Task, samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    found = summary(verdicts, len(samples), [sample.meta.get("set") for sample in samples])
    score = found.pop("score")
    about = evaluator.described(task, samples)
    asked = {key: about[key] for key in ("version", "metric", "chance", "protocol", "shots", "template")}
    return {"score": score.pop("estimate"), **score, **asked, **found}


def _item_values(verdicts: Sequence[Verdict], samples: Sequence[Sample]) -> list[float]:
    """The mean value of each item's draws."""
    draws = by_item([verdict.value for verdict in verdicts], len(samples))
    return [sum(values) / len(values) for values in draws]


def _protocols(items: Items, scores: dict[str, Any], values: dict[str, list[float]]) -> dict[str, Any]:
    """The tasks asked by likelihood and by free generation of the same items: what is recognized only."""
    ways: dict[str, dict[str, tuple[Task, list[Sample]]]] = {}
    for task, samples in items:
        ways.setdefault(task.name.replace(f"@{task.asked}", ""), {})[task.asked] = (task, samples)
    found = {}
    for name, by_protocol in ways.items():
        if not {"likelihood", "free"} <= by_protocol.keys():
            continue
        known, written = (values[by_protocol[way][0].name] for way in ("likelihood", "free"))
        found[name] = {way: scores[task.name]["score"] for way, (task, _) in by_protocol.items()}
        found[name]["recognition_only"] = figure(recognized_only(known, written))
    return found


def _warnings(evaluator: Evaluator, items: Items, scores: dict[str, Any], difference: float) -> list[str]:
    about = [evaluator.described(task, samples) for task, samples in items]
    counted = [(name, score["n"], score["score"]) for name, score in scores.items() if not score["graded"]]
    refused = [{"name": name, "score": score, "refused": score["refused"]} for name, score in scores.items()]
    return [*cautions.confounds(about), *cautions.too_few(counted, difference), *cautions.refused(refused)]


def sweep(opened: Opened, asking: Asking) -> dict[str, Any]:
    """The base's scores, and each layer's with retention: {"model", "layers", "base": {task: ...}, "sweep": [...]}."""
    items = asking.items()
    with opened.evaluator(**asking.evaluator()) as evaluator:
        depth = evaluator.loaded.depth
        each = sum(evaluator.draws(task) * len(samples) for task, samples in items)
        with Bar((depth + 1) * each) as bar:
            for task, samples in items:
                with bar.stage(task.name):
                    evaluator.ask([(), *((layer,) for layer in range(depth))], [(task, samples)], bar.advance)
        base, values = _measured(evaluator, (), items)
        rows: list[dict[str, Any]] = []
        for layer in range(depth):
            scores, without = _measured(evaluator, (layer,), items)
            for task, _ in items:
                scores[task.name] |= _kept(task, values[task.name], without[task.name])
            rows.append({"layer": layer, "scores": scores})
        correct(score["test"] for row in rows for score in row["scores"].values())
        warned = _warnings(evaluator, items, base, asking.difference)
        return {"model": opened.model, "layers": depth, "base": base, "sweep": rows, "warnings": warned}


def _measured(
    evaluator: Evaluator, removed: tuple[int, ...], items: Items
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Scores and item values from what is stored."""
    scores, values = {}, {}
    for task, samples in items:
        (verdicts,) = evaluator.verdicts([removed], task, samples)
        scores[task.name] = _score(evaluator, task, samples, verdicts)
        values[task.name] = _item_values(verdicts, samples)
    return scores, values


def _kept(task: Task, base: list[float], other: list[float]) -> dict[str, Any]:
    return {
        "retention": figure(intervals.retention(task.name, base, other)),
        "corrected": figure(intervals.retention(task.name, base, other, task.chance)) if task.chance else None,
        "test": compared(base, other),
    }


def show_scores(results: dict[str, Any]) -> None:
    """A table for people."""
    table = Table(title=f"{results['model']}: scores with 95% intervals")
    for column in ("task", "score", "interval", "strict", "n", "metric", "outcomes"):
        left = column in ("task", "metric", "outcomes")
        table.add_column(column, justify="left" if left else "right", no_wrap=column in ("task", "score", "n"))
    for task, row in results["scores"].items():
        outcomes = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in row["outcomes"].items())
        interval = f"{row['low']:.3f} to {row['high']:.3f}"
        strict = f"{row['strict']['estimate']:.3f}" if row["strict"] else "-"
        metric = row["metric"] + "".join(f", {key} {one['estimate']:.3f}" for key, one in row["measures"].items())
        table.add_row(task, f"{row['score']:.3f}", interval, strict, str(row["n"]), metric, outcomes)
        for part, one in row["sets"].items():
            interval = f"{one['low']:.3f} to {one['high']:.3f}"
            table.add_row(f"  {part}", f"{one['estimate']:.3f}", interval, "", str(one["n"]))
    Console().print(table)
    for name, ways in results["protocols"].items():
        only = ways["recognition_only"]
        print(
            f"{name}: {only['estimate']:.1%} ({only['low']:.1%} to {only['high']:.1%}) of {only['n']} items are right "
            "by likelihood and wrong when written"
        )
    for warning in results["warnings"]:
        print(f"note: {warning}")


def show_sweep(results: dict[str, Any]) -> None:
    """A table for people: retention by layer and task."""
    table = Table(title=f"{results['model']}: retention without one layer (score / unpruned score)")
    table.add_column("layer", justify="right")
    for task in results["base"]:
        table.add_column(task, justify="right")
    for row in results["sweep"]:
        table.add_row(str(row["layer"]), *(_cell(score) for score in row["scores"].values()))
    Console().print(table)
    print("* differs from the unpruned model at the 5% level by McNemar's exact test, Holm-corrected over the table")
    for warning in results["warnings"]:
        print(f"note: {warning}")


def _cell(score: dict[str, Any]) -> str:
    if not score["retention"]:
        return "-"
    test = score["test"]
    return f"{score['retention']['estimate']:.2f}{'*' if test and test['p_holm'] <= 0.05 else ''}"
