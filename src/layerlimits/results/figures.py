"""Compute the scores of a task from a model's verdicts: score, strict score, measures, subsets, outcomes."""

from collections.abc import Sequence
from dataclasses import Field, replace
from typing import Any, ClassVar, Protocol, TypeVar

from layerlimits.results.rows import PairedTest, Score
from layerlimits.statistics import intervals
from layerlimits.statistics.significance import holm, mcnemar, sign_flip
from layerlimits.types import Estimate, Verdict


class Tested(Protocol):
    """A dataclass with a test against another model, or None."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def test(self) -> PairedTest | None:
        """The test."""


Row = TypeVar("Row", bound=Tested)


def by_item(values: Sequence[float], n: int) -> list[list[float]]:
    """Regroup values by item: from draw-major order, (k * n,), to (n, k) for k draws of n items."""
    return [list(values[item::n]) for item in range(n)]


def mean(values: Sequence[float], n: int) -> Estimate:
    """The mean over n items and their draws, with an interval that covers the variation of both."""
    return intervals.mean(values) if len(values) == n else intervals.sampled_mean(by_item(values, n))


def summary(verdicts: Sequence[Verdict], n: int, sets: Sequence[str | None]) -> Score:
    """The scores of a model on a task.

    Args:
        verdicts: Verdicts in draw-major order, (k * n,).
        n: Number of items.
        sets: Subset of the benchmark of each item, None if it has no subsets, (n,).
    """
    outcomes = [verdict.outcome for verdict in verdicts]
    measures = sorted({name for verdict in verdicts for name in verdict.measures})
    values = [verdict.value for verdict in verdicts]
    has_strict = any(verdict.strict is not None for verdict in verdicts)
    return Score(
        score=mean(values, n),
        # A verdict without a strict value, such as an error, does not have the required format.
        strict=mean([verdict.strict or 0.0 for verdict in verdicts], n) if has_strict else None,
        measures={name: mean([verdict.measures.get(name, 0.0) for verdict in verdicts], n) for name in measures},
        sets=_sets(values, n, sets),
        outcomes={name: outcomes.count(name) for name in sorted(set(outcomes))},
        draws=len(verdicts) // n,
        graded=any(0 < value < 1 for value in values),
        refused=sum(verdict.why.startswith("context too long") for verdict in verdicts[:n]),
    )


def _sets(values: Sequence[float], n: int, sets: Sequence[str | None]) -> dict[str, Estimate]:
    scores = {}
    for name in sorted({part for part in sets if part is not None}):
        members = [position for position in range(len(values)) if sets[position % n] == name]
        scores[name] = mean([values[position] for position in members], sets.count(name))
    return scores


def recognized_only(likelihood: Sequence[float], free: Sequence[float]) -> Estimate:
    """The recognition-only rate: the share of items correct by likelihood and wrong in free generation.

    The mean of l (1 - f) over items, where l is 1 if the correct choice is the most likely one, and f is the mean value
    of the generated answers.

    Raises:
        ValueError: The numbers of items differ, or there are none.
    """
    pairs = zip(likelihood, free, strict=True)
    return intervals.mean([known * (1 - written) for known, written in pairs])


def paired_test(base: Sequence[float], other: Sequence[float]) -> PairedTest | None:
    """McNemar's exact test of two models on the same items; None if values are graded."""
    if any(value not in (0, 1) for value in (*base, *other)):
        return None
    test = mcnemar(base, other)
    return PairedTest(test.b, test.c, test.p)


def any_paired_test(base: Sequence[float], other: Sequence[float]) -> PairedTest:
    """McNemar's exact test, or for graded values the sign-flip test, of two models on the same items.

    For graded values, `lost` and `won` count the items with a lower and with a higher value.
    """
    exact = paired_test(base, other)
    if exact:
        return exact
    pairs = list(zip(base, other, strict=True))
    lower, higher = sum(two < one for one, two in pairs), sum(two > one for one, two in pairs)
    return PairedTest(lower, higher, sign_flip(base, other))


def corrected(rows: Sequence[Row]) -> list[Row]:
    """The rows of one table with p-values adjusted by Holm's method over all tests of the table."""
    adjusted = iter(holm([row.test.p for row in rows if row.test]))
    return [replace(row, test=replace(row.test, p_holm=next(adjusted))) if row.test else row for row in rows]


def median_and_range(values: Sequence[float]) -> Estimate:
    """Median and range; there are too few repeats for a confidence interval."""
    ordered = sorted(values)
    return Estimate(ordered[len(ordered) // 2], ordered[0], ordered[-1], len(ordered))
