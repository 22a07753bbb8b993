"""The summary paragraph at the top of a report, generated from its results."""

import math
from collections.abc import Sequence

from layerlimits.results.document import StudyResults
from layerlimits.results.rows import ClassRetention, PlanComparison, Recovery, Regained
from layerlimits.types import Estimate, Kind

# A class counts as retained at or above this retention.
_THRESHOLD = 0.9
_CLASS_WORDS: dict[Kind, str] = {"choice": "multiple choice (corrected for chance)", "generation": "generation"}


def headline(results: StudyResults) -> str:
    """Summarize how many layers can be removed, which task degrades first, and what finetuning recovers."""
    parts = [_limits(results), _first_to_break(results), _single(results), _perplexity(results), _recovered(results)]
    return " ".join(part for part in parts if part)


def limit(results: StudyResults, kind: Kind) -> tuple[int, ClassRetention | None] | None:
    """The largest number of layers up to which the best method retains 90% of a class at every tested number.

    Returns:
        That number and the method's row; (0, None) if retention is lower even at the smallest number; None if nothing
        was measured.
    """
    rows = [row for row in results.classes if row.kind == kind and row.adjusted_retention]
    if not rows:
        return None
    best: tuple[int, ClassRetention | None] = (0, None)
    for count in sorted({row.layers for row in rows}):
        row = max((row for row in rows if row.layers == count), key=_estimate)
        if _estimate(row) < _THRESHOLD:
            break
        best = (count, row)
    return best


def _estimate(row: ClassRetention | PlanComparison) -> float:
    return row.adjusted_retention.estimate if row.adjusted_retention else 0.0


def _limits(results: StudyResults) -> str:
    parts, depth = [], results.model.layers
    for kind, words in _CLASS_WORDS.items():
        best = limit(results, kind)
        if best is None:
            continue
        layers, row = best
        if row and row.adjusted_retention:
            retained = f"{_with_interval(row.adjusted_retention)} by {row.method}"
            parts.append(f"{_THRESHOLD:.0%} of {words} with up to {layers} of {depth} layers removed: {retained}")
        else:
            fewest = min(row.layers for row in results.classes if row.kind == kind)
            removal = f"{fewest} of {depth} layers removed by any method"
            parts.append(f"less than {_THRESHOLD:.0%} of {words} with {removal}")
    sentences = [f"{results.model.title} retains " + ", and ".join(parts) + "."] if parts else []
    return " ".join(sentences + [_at_chance(kind) for kind in _CLASS_WORDS if _unmeasurable(results, kind)])


def _unmeasurable(results: StudyResults, kind: Kind) -> bool:
    """Whether a class was evaluated and the unpruned model is at chance on all of its tasks."""
    rows = [row for row in results.classes if row.kind == kind]
    return bool(rows) and not any(row.adjusted_retention for row in rows)


def _at_chance(kind: str) -> str:
    return f"On {kind} tasks the unpruned model is not above chance, so retention cannot be measured."


def _with_interval(share: Estimate) -> str:
    return f"{share.estimate:.0%} ({share.low:.0%} to {share.high:.0%}, n = {share.n})"


def _first_to_break(results: StudyResults) -> str:
    """The most degraded task under the best method, at the smallest removal with a significant loss of over 10%."""
    rows = [row for row in results.pruned if row.adjusted_retention]
    if not rows:
        return ""
    counts = sorted({row.layers for row in rows})
    weakest = [_weakest_task([row for row in rows if row.layers == count]) for count in counts]
    first = next((row for row in weakest if _lost(row) and _estimate(row) < _THRESHOLD), None)
    row = first or weakest[-1]
    assert row.adjusted_retention is not None
    retained = _with_interval(row.adjusted_retention)
    if first is None:
        return (
            f"No task has degraded yet: with {_layers(row.layers)} removed by {row.method}, the most affected task, "
            f"{row.task}, retains {retained}; larger ratios are needed to find the limit."
        )
    return (
        f"The first task to degrade is {row.task}: with {_layers(row.layers)} removed it retains {retained} "
        f"by {row.method}, the best method at this ratio."
    )


def _weakest_task(rows: Sequence[PlanComparison]) -> PlanComparison:
    """The task with the lowest retention under the method with the highest mean retention; significant losses first."""
    by_method: dict[str, list[PlanComparison]] = {}
    for row in rows:
        by_method.setdefault(row.method, []).append(row)
    best = max(by_method.values(), key=lambda group: sum(map(_estimate, group)) / len(group))
    return min(best, key=lambda row: (not _lost(row), _estimate(row)))


def _lost(row: PlanComparison) -> bool:
    """Whether the loss is significant: the interval excludes full retention."""
    return row.adjusted_retention is not None and row.adjusted_retention.high < 1


def _single(results: StudyResults) -> str:
    """The layers whose removal costs most and least, on average over all tasks."""
    by_layer: dict[int, list[float]] = {}
    for row in results.sweep:
        if row.adjusted_retention:
            by_layer.setdefault(row.layer, []).append(row.adjusted_retention.estimate)
    if not by_layer:
        return ""
    means = {layer: sum(values) / len(values) for layer, values in by_layer.items()}
    worst, best = min(means, key=lambda layer: means[layer]), max(means, key=lambda layer: means[layer])
    return (
        f"Among single layers, removing layer {worst} costs most (mean retention over tasks {means[worst]:.0%}) "
        f"and removing layer {best} least ({means[best]:.0%})."
    )


def _perplexity(results: StudyResults) -> str:
    """How much the fewest removed layers raise the perplexity of each set of documents, by the best method."""
    sentences = []
    for task in dict.fromkeys(row.task for row in results.texts):
        rows = [row for row in results.texts if row.task == task and row.stage == "prune" and row.relative]
        fewest = [row for row in rows if len(row.removed) == min(len(other.removed) for other in rows)]
        if not fewest:
            continue
        best = min(fewest, key=lambda row: row.relative.estimate if row.relative else 0.0)
        assert best.relative is not None
        share = best.relative
        sentences.append(
            f"The perplexity of {task} is {share.estimate:.3g} times that of the unpruned model ({share.low:.3g} to "
            f"{share.high:.3g}, n = {share.n} documents) with {best.model}."
        )
    return " ".join(sentences)


def _recovered(results: StudyResults) -> str:
    """Lost and recovered points of each class, for the finetuned model that recovered most."""
    if not results.recovery:
        return ""
    entry = max(results.recovery, key=lambda entry: (entry.layers, _gain(entry)))
    regained, unaffected = [], []
    for kind in _CLASS_WORDS:
        rows = [row for row in entry.tasks if row.kind == kind]
        lost, back = _points(rows) if rows else (0.0, 0.0)
        # A share of a negligible loss is meaningless.
        if lost >= 1:
            regained.append(_share(lost, back, kind))
        elif rows:
            unaffected.append(kind)
    model = f"the model with {_layers(entry.layers)} removed by {entry.method}"
    how = f"({entry.name}, {entry.examples} responses of the unpruned model)"
    harm = _harm(results, entry)
    if not regained:
        return f"Finetuning {how} had nothing to recover, because {model} lost less than one point.{harm}"
    rest = f"; {' and '.join(unaffected)} lost less than one point" if unaffected else ""
    return f"Finetuning {model} {how} recovers {' and '.join(regained)}{rest}.{harm}"


def _share(lost: float, back: float, kind: Kind) -> str:
    """Recovered points of the lost ones, in words."""
    if back >= 0:
        return f"{back:.0f} of the {lost:.0f} points lost in {kind}"
    return f"none of the {lost:.0f} points lost in {kind} ({-back:.0f} more are lost)"


def _harm(results: StudyResults, entry: Recovery) -> str:
    """What finetuning made worse: the sentence of this model, and the number of other models with one."""
    others = [other for other in results.recovery if other.harm and other is not entry]
    sentences = [entry.harm] if entry.harm else []
    if others and not entry.harm:
        sentences.append(others[0].harm)
        others = others[1:]
    if others:
        has = "model has" if len(others) == 1 else "models have"
        sentences.append(f"{len(others)} more finetuned {has} lower scores than before.")
    return "".join(f" {sentence}" for sentence in sentences)


def _points(rows: Sequence[Regained]) -> tuple[float, float]:
    """Mean points (0 to 100) lost by pruning and recovered by finetuning."""
    lost = sum(row.base.estimate - row.pruned.estimate for row in rows) / len(rows)
    back = sum(row.recovered.estimate - row.pruned.estimate for row in rows) / len(rows)
    return 100 * lost, 100 * back


def _gain(entry: Recovery) -> float:
    return math.fsum(row.recovered.estimate - row.pruned.estimate for row in entry.tasks)


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"
