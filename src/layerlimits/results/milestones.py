"""Recovery curves from the milestones that a finetuning has stored."""

from collections.abc import Iterator, Mapping, Sequence

from layerlimits.evaluation.artifacts import MilestoneRecord, RecoveredRecord
from layerlimits.results.curves import CurveLine, CurvePoint, LossPoint, RecoveryCurve
from layerlimits.statistics import intervals
from layerlimits.statistics.saturation import backtest, saturation
from layerlimits.types import Kind

_KINDS: tuple[Kind, ...] = ("choice", "generation")


def recovery_curve(
    record: RecoveredRecord, kinds: Mapping[str, Kind], chances: Mapping[str, float]
) -> RecoveryCurve | None:
    """The curve of a finetuned model; None if it was not evaluated during the training.

    Args:
        record: The finetuned model.
        kinds: Kind of each task.
        chances: Score of random guessing of each task.
    """
    milestones = sorted(record.get("curve", []), key=lambda milestone: milestone["tokens"])
    if not milestones:
        return None
    names = [name for name in milestones[0]["scores"] if all(name in milestone["scores"] for milestone in milestones)]
    base = record.get("curve_base", {})
    lines = [
        _line(name, group, milestones, base, [chances.get(task, 0.0) for task in group])
        for name, group in _groups(names, kinds)
    ]
    losses = (LossPoint(point["tokens"], point["train_loss"], point["heldout_loss"]) for point in milestones)
    return RecoveryCurve(tuple(lines), tuple(losses))


def _groups(names: Sequence[str], kinds: Mapping[str, Kind]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Classes of several tasks, then every task."""
    for kind in _KINDS:
        tasks = tuple(name for name in names if kinds.get(name) == kind)
        if len(tasks) > 1:
            yield kind, tasks
    yield from ((name, (name,)) for name in names)


def _line(
    name: str,
    tasks: tuple[str, ...],
    milestones: Sequence[MilestoneRecord],
    base: Mapping[str, Sequence[float]],
    chances: Sequence[float],
) -> CurveLine:
    scores = [[milestone["scores"][task] for milestone in milestones] for task in tasks]
    whole = [base[task] for task in tasks] if all(task in base for task in tasks) else None
    tokens = [milestone["tokens"] for milestone in milestones]
    points = []
    for number, count in enumerate(tokens):
        values = [task[number] for task in scores]
        retained = intervals.shared(list(zip(whole, values, strict=True)), chances) if whole else None
        points.append(CurvePoint(count, intervals.mean_over_tasks(values), retained))
    half = None
    if whole and tokens[0] == 0:
        half = (intervals.mean_over_tasks(whole).estimate + points[0].score.estimate) / 2
    return CurveLine(name, tasks, tuple(points), saturation(tokens, scores, half), backtest(tokens, scores))
