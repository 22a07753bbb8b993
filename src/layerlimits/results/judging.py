"""Judge models against requirements, with the error shared by all models that were looked at.

A model meets a requirement if the lower bound of its retention at the requirement's error is at least the threshold,
and it meets several if it meets each: no correction over requirements is needed, since a model that violates one passes
all of them at most as often as that one (intersection-union test, Berger 1982). The best of several models is better by
chance than it is on new items. The error is therefore divided by the number of models (Bonferroni), and once some have
passed, by the number of the others (Holm 1979): the probability that any model passes that does not meet the
requirements is at most the error, whichever of the passing models is chosen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layerlimits.results.candidates import PairedValues
from layerlimits.results.requirements import Outcome, Requirement
from layerlimits.statistics.bounds import RetentionBounds, items_to_decide, retention_bounds
from layerlimits.types import Estimate


@dataclass(frozen=True)
class Measured:
    """The retention of a model on what a requirement names.

    Args:
        bounds: None if it cannot be measured.
        tasks: Number of tasks.
        reason: Why it cannot be measured.
    """

    bounds: RetentionBounds | None
    tasks: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Outcomes:
    """The outcome of every model: by requirement, its interval, and the number of models that share the error."""

    shared_by: int
    intervals: Mapping[str, Sequence[Estimate | None]]
    verdicts: Mapping[str, Sequence[Outcome]]


def measured(values: Sequence[PairedValues] | None, least_error: float) -> Measured:
    """The mean retention over tasks, with bounds at errors down to `least_error`; None if answers are missing."""
    if values is None:
        return Measured(None, reason="the model has not answered all items")
    bounds = retention_bounds(
        [(task.base, task.other) for task in values], [task.chance for task in values], least_error
    )
    if bounds is None:
        names = ", ".join(task.task for task in values)
        return Measured(None, reason=f"the unpruned model is not above chance on {names}")
    return Measured(bounds, len(values))


def passing(
    requirements: Sequence[Requirement], models: Mapping[str, Sequence[Measured]]
) -> tuple[frozenset[str], int]:
    """The models that keep everything, and the number of models that share the error after Holm's steps.

    Args:
        requirements: The requirements.
        models: What each model retains of each requirement's target, by name.
    """
    passed: frozenset[str] = frozenset()
    while True:
        shared_by = max(1, len(models) - len(passed))
        now = frozenset(name for name, targets in models.items() if _passes(requirements, targets, shared_by))
        if now == passed:
            return passed, shared_by
        passed = now


def _passes(requirements: Sequence[Requirement], targets: Sequence[Measured], shared_by: int) -> bool:
    return all(
        target.bounds is not None and target.bounds.reaches(requirement.threshold, requirement.error / shared_by)
        for requirement, target in zip(requirements, targets, strict=True)
    )


def decide(requirements: Sequence[Requirement], models: Mapping[str, Sequence[Measured]]) -> Outcomes:
    """The outcome of every model and requirement; arguments as for `passing`."""
    _, shared_by = passing(requirements, models)
    intervals = {
        name: [
            target.bounds.at(requirement.error / shared_by) if target.bounds else None
            for requirement, target in zip(requirements, targets, strict=True)
        ]
        for name, targets in models.items()
    }
    verdicts = {
        name: [_verdict(requirement, interval) for requirement, interval in zip(requirements, estimates, strict=True)]
        for name, estimates in intervals.items()
    }
    return Outcomes(shared_by, intervals, verdicts)


def _verdict(requirement: Requirement, interval: Estimate | None) -> Outcome:
    if interval is not None and interval.low >= requirement.threshold:
        return "keeps"
    if interval is not None and interval.high < requirement.threshold:
        return "fails"
    return "too few items"


def items_needed(requirement: Requirement, interval: Estimate | None, target: Measured, shared_by: int) -> int | None:
    """Items per task that would decide on a requirement; None if that is unknown."""
    if interval is None or not target.tasks:
        return None
    items = -(-interval.n // target.tasks)
    return items_to_decide(interval, items, requirement.threshold, requirement.error / shared_by)
