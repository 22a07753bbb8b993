"""From a model's verdicts to the figures of a task: score, strict score, further measures, parts, outcomes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from layerlimits.results.rows import Comparison, PairedTest, Score
from layerlimits.statistics import intervals
from layerlimits.statistics.significance import holm, mcnemar
from layerlimits.types import Estimate, Verdict

Row = TypeVar("Row", bound=Comparison)


def by_item(values: Sequence[float], n: int) -> list[list[float]]:
    """The values of k draws of n items, which come draw after draw, as (n, k)."""
    return [list(values[item::n]) for item in range(n)]


def mean(values: Sequence[float], n: int) -> Estimate:
    """The mean over n items and their draws, with its interval over both."""
    return intervals.mean(values) if len(values) == n else intervals.sampled_mean(by_item(values, n))


def summary(verdicts: Sequence[Verdict], n: int, sets: Sequence[str | None]) -> Score:
    """Everything a task's verdicts say of one model.

    Args:
        verdicts: of n items, draw after draw.
        n: how many items.
        sets: the part of the benchmark each item belongs to, None where it has no parts.
    """
    outcomes = [verdict.outcome for verdict in verdicts]
    measures = sorted({name for verdict in verdicts for name in verdict.measures})
    values = [verdict.value for verdict in verdicts]
    has_strict = any(verdict.strict is not None for verdict in verdicts)
    return Score(
        score=mean(values, n),
        # What has no strict reading, such as an error, is not in the form asked for.
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
    """The share of items that are right by likelihood and wrong when the model writes the answer itself.

    The mean of l (1 - f) over items, l being 1 where the right choice is likeliest and f the (mean) value of what is
    written: what a score by likelihood shows and no user gets.

    Raises:
        ValueError: unlike numbers of items, or none.
    """
    pairs = zip(likelihood, free, strict=True)
    return intervals.mean([known * (1 - written) for known, written in pairs])


def paired_test(base: Sequence[float], other: Sequence[float]) -> PairedTest | None:
    """McNemar's exact test of two models on the same items; None where values are graded."""
    if any(value not in (0, 1) for value in (*base, *other)):
        return None
    test = mcnemar(base, other)
    return PairedTest(test.b, test.c, test.p)


def corrected(rows: Sequence[Row]) -> list[Row]:
    """The rows of one table with Holm's adjusted p-value beside that of each test: they are looked at together."""
    adjusted = iter(holm([row.test.p for row in rows if row.test]))
    return [replace(row, test=replace(row.test, p_holm=next(adjusted))) if row.test else row for row in rows]
