"""The one paragraph at the top of a report, made from its figures."""

import math
from collections.abc import Sequence

from layerlimits.results.document import StudyResults
from layerlimits.results.rows import ClassRetention, PlanComparison, Recovery, Regained
from layerlimits.types import Estimate, Kind

_KEPT = 0.9
_CLASS_WORDS: dict[Kind, str] = {"choice": "multiple choice (corrected for chance)", "generation": "generation"}


def headline(results: StudyResults) -> str:
    """How many layers can go, what breaks first, and what finetuning brings back, in plain English."""
    parts = [_limits(results), _first_to_break(results), _single(results), _recovered(results)]
    return " ".join(part for part in parts if part)


def limit(results: StudyResults, kind: Kind) -> tuple[int, ClassRetention | None] | None:
    """The largest number of removed layers with which some method keeps 90% of a class, at it and at every smaller one.

    Returns:
        That number and the method's row; (0, None) if even the smallest number loses more; None where nothing was
        measured.
    """
    rows = [row for row in results.classes if row.kind == kind and row.kept]
    if not rows:
        return None
    best: tuple[int, ClassRetention | None] = (0, None)
    for count in sorted({row.layers for row in rows}):
        row = max((row for row in rows if row.layers == count), key=_estimate)
        if _estimate(row) < _KEPT:
            break
        best = (count, row)
    return best


def _estimate(row: ClassRetention | PlanComparison) -> float:
    return row.kept.estimate if row.kept else 0.0


def _limits(results: StudyResults) -> str:
    parts, depth = [], results.model.layers
    for kind, words in _CLASS_WORDS.items():
        best = limit(results, kind)
        if best is None:
            continue
        layers, row = best
        if row and row.kept:
            figures = f"{_with_interval(row.kept)} by {row.method}"
            parts.append(f"{_KEPT:.0%} of {words} with up to {layers} of {depth} layers removed: {figures}")
        else:
            fewest = min(row.layers for row in results.classes if row.kind == kind)
            parts.append(f"less than {_KEPT:.0%} of {words} with {fewest} of {depth} layers removed, by any method")
    sentences = [f"{results.model.name} keeps " + ", and ".join(parts) + "."] if parts else []
    return " ".join(sentences + [_at_chance(kind) for kind in _CLASS_WORDS if _unmeasurable(results, kind)])


def _unmeasurable(results: StudyResults, kind: Kind) -> bool:
    """Whether a class was asked, and the unpruned model is no better than chance in all of it."""
    rows = [row for row in results.classes if row.kind == kind]
    return bool(rows) and not any(row.kept for row in rows)


def _at_chance(kind: str) -> str:
    return f"In {kind} the unpruned model gets nothing right beyond chance, so it has nothing to lose there."


def _with_interval(share: Estimate) -> str:
    return f"{share.estimate:.0%} ({share.low:.0%} to {share.high:.0%}, n = {share.n})"


def _first_to_break(results: StudyResults) -> str:
    """The worst-hit task at the smallest removal that surely costs one over a tenth, by the gentlest method there."""
    rows = [row for row in results.pruned if row.kept]
    if not rows:
        return ""
    counts = sorted({row.layers for row in rows})
    gentlest = [_gentlest([row for row in rows if row.layers == count]) for count in counts]
    worst = next((row for row in gentlest if _lost(row) and _estimate(row) < _KEPT), None)
    row = worst or gentlest[-1]
    assert row.kept is not None
    figures = _with_interval(row.kept)
    if worst is None:
        return (
            f"Nothing has broken yet: without {_layers(row.layers)} by {row.method}, the worst-hit task, "
            f"{row.task}, keeps {figures}; larger ratios would show where it ends."
        )
    return (
        f"What breaks first is {row.task}: without {_layers(row.layers)} it keeps {figures} "
        f"by {row.method}, the gentlest method there."
    )


def _gentlest(rows: Sequence[PlanComparison]) -> PlanComparison:
    """Of the method that keeps most over all tasks, the task that keeps least, doubtful losses last."""
    by_method: dict[str, list[PlanComparison]] = {}
    for row in rows:
        by_method.setdefault(row.method, []).append(row)
    best = max(by_method.values(), key=lambda mine: sum(map(_estimate, mine)) / len(mine))
    return min(best, key=lambda row: (not _lost(row), _estimate(row)))


def _lost(row: PlanComparison) -> bool:
    """Whether the interval excludes that nothing was lost."""
    return row.kept is not None and row.kept.high < 1


def _single(results: StudyResults) -> str:
    """The layer that costs most and the one that costs least, over all tasks."""
    by_layer: dict[int, list[float]] = {}
    for row in results.sweep:
        if row.kept:
            by_layer.setdefault(row.layer, []).append(row.kept.estimate)
    if not by_layer:
        return ""
    means = {layer: sum(values) / len(values) for layer, values in by_layer.items()}
    dear, cheap = min(means, key=lambda layer: means[layer]), max(means, key=lambda layer: means[layer])
    return (
        f"Of single layers, layer {dear} costs most (mean retention over tasks {means[dear]:.0%}) "
        f"and layer {cheap} least ({means[cheap]:.0%})."
    )


def _recovered(results: StudyResults) -> str:
    """Lost and regained points of each class, for the finetuned model that came back furthest."""
    if not results.recovery:
        return ""
    entry = max(results.recovery, key=lambda entry: (entry.layers, _gain(entry)))
    regained, unhurt = [], []
    for kind in _CLASS_WORDS:
        rows = [row for row in entry.tasks if row.kind == kind]
        lost, back = _points(rows) if rows else (0.0, 0.0)
        # Where nothing noteworthy was lost, a share of it means nothing.
        if lost >= 1:
            regained.append(f"{back:.0f} of the {lost:.0f} points lost in {kind}")
        elif rows:
            unhurt.append(kind)
    model = f"the model without {_layers(entry.layers)} ({entry.method})"
    how = f"Finetuning ({entry.name}, {entry.examples} answers of the unpruned model)"
    if not regained:
        return f"{how} had nothing to bring back: {model} lost less than a point."
    kept = f"; {' and '.join(unhurt)} lost less than a point" if unhurt else ""
    return f"{how} of {model} brings back {' and '.join(regained)}{kept}."


def _points(rows: Sequence[Regained]) -> tuple[float, float]:
    """Mean points (of 100) lost by pruning and regained by finetuning."""
    lost = sum(row.base.estimate - row.pruned.estimate for row in rows) / len(rows)
    back = sum(row.recovered.estimate - row.pruned.estimate for row in rows) / len(rows)
    return 100 * lost, 100 * back


def _gain(entry: Recovery) -> float:
    return math.fsum(row.recovered.estimate - row.pruned.estimate for row in entry.tasks)


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
