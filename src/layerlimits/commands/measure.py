"""`evaluate` and `sweep`: scores without choosing or removing anything for good."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from layerlimits import stats
from layerlimits.commands.flags import words
from layerlimits.commands.opened import Opened
from layerlimits.evaluate import Evaluator
from layerlimits.findings import figure
from layerlimits.progress import Bar
from layerlimits.tasks import choose
from layerlimits.types import Sample, Task


def _items(names: str, limit: int, data_dir: Path | None) -> list[tuple[Task, list[Sample]]]:
    return [(task, task.samples("evaluate", limit, data_dir)) for task in choose(words(names))]


def evaluate(opened: Opened, names: str, limit: int, data_dir: Path | None) -> dict[str, Any]:
    """Scores by task: {"model", "scores": {task: {"score", "low", "high", "n", ...}}}."""
    items = _items(names, limit, data_dir)
    with opened.evaluator() as evaluator, Bar(sum(len(samples) for _, samples in items)) as bar:
        scores = {}
        for task, samples in items:
            with bar.stage(task.name):
                scores[task.name] = _score(evaluator, (), task, samples, bar)
        return {"model": opened.model, "fingerprint": evaluator.loaded.ref.fingerprint, "scores": scores}


def _score(
    evaluator: Evaluator, removed: tuple[int, ...], task: Task, samples: list[Sample], bar: Bar
) -> dict[str, Any]:
    verdicts = evaluator.verdicts(removed, task, samples, bar.advance)
    found = stats.mean(task.name, [verdict.value for verdict in verdicts])
    outcomes = [verdict.outcome for verdict in verdicts]
    return {
        "score": found.estimate,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "metric": task.metric,
        "outcomes": {name: outcomes.count(name) for name in sorted(set(outcomes))},
    }


def sweep(opened: Opened, names: str, limit: int, data_dir: Path | None) -> dict[str, Any]:
    """The base's scores, and each layer's with retention: {"model", "layers", "base": {task: ...}, "sweep": [...]}."""
    items = _items(names, limit, data_dir)
    with opened.evaluator() as evaluator:
        depth = evaluator.loaded.depth
        with Bar((depth + 1) * sum(len(samples) for _, samples in items)) as bar, bar.stage("unpruned"):
            base = {task.name: _score(evaluator, (), task, samples, bar) for task, samples in items}
            rows = []
            for layer in range(depth):
                with bar.stage(f"without layer {layer}"):
                    rows.append({"layer": layer, "scores": _without(evaluator, layer, items, bar)})
        return {"model": opened.model, "layers": depth, "base": base, "sweep": rows}


def _without(evaluator: Evaluator, layer: int, items: list[tuple[Task, list[Sample]]], bar: Bar) -> dict[str, Any]:
    found = {}
    for task, samples in items:
        score = _score(evaluator, (layer,), task, samples, bar)
        base = [verdict.value for verdict in evaluator.verdicts((), task, samples)]
        other = [verdict.value for verdict in evaluator.verdicts((layer,), task, samples)]
        score["retention"] = figure(stats.retention(task.name, base, other))
        score["corrected"] = figure(stats.retention(task.name, base, other, task.chance)) if task.chance else None
        found[task.name] = score
    return found


def show_scores(results: dict[str, Any]) -> None:
    """A table for people."""
    table = Table(title=f"{results['model']}: scores with 95% intervals")
    for column in ("task", "score", "interval", "n", "metric", "outcomes"):
        table.add_column(column, justify="left" if column in ("task", "metric", "outcomes") else "right")
    for task, row in results["scores"].items():
        outcomes = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in row["outcomes"].items())
        interval = f"{row['low']:.3f} to {row['high']:.3f}"
        table.add_row(task, f"{row['score']:.3f}", interval, str(row["n"]), row["metric"], outcomes)
    Console().print(table)


def show_sweep(results: dict[str, Any]) -> None:
    """A table for people: retention by layer and task."""
    table = Table(title=f"{results['model']}: retention without one layer (score / unpruned score)")
    table.add_column("layer", justify="right")
    for task in results["base"]:
        table.add_column(task, justify="right")
    for row in results["sweep"]:
        kept = [score["retention"] for score in row["scores"].values()]
        table.add_row(str(row["layer"]), *(f"{one['estimate']:.2f}" if one else "-" for one in kept))
    Console().print(table)
