"""Responses that reached the token limit, and whether a comparison of two models mostly compares them.

A response that repeats itself until the limit would never have ended, so that only the others count: those to which
more tokens could have given another verdict. A comparison is decided by truncation if

- at least half of the difference between the scores is on items on which such a truncation befell exactly one of the
  two models, and the scores differ significantly (the interval of the difference excludes 0); or
- it befell the first model in at least half of its responses, so that its score says what fits into the limit.
"""

from collections.abc import Sequence
from math import fsum
from statistics import fmean
from typing import Any

from layerlimits.analysis.repetition import loop_onset
from layerlimits.results.rows import Truncation
from layerlimits.statistics import intervals
from layerlimits.types import TRUNCATED_WHILE_THINKING, AskFormat, Response, Verdict

_DECISIVE = 0.5
Answered = tuple[Response, Verdict]


def truncated(answers: Sequence[Answered]) -> int:
    """Number of responses that reached the token limit."""
    return sum(response.finish == "length" for response, _ in answers)


def truncated_thinking(answers: Sequence[Answered]) -> int:
    """Number of responses that reached the token limit inside their reasoning."""
    return sum(verdict.why == TRUNCATED_WHILE_THINKING for _, verdict in answers)


def truncation(base: Sequence[Answered], other: Sequence[Answered], n: int) -> Truncation:
    """Compare the truncation of two models on the same items.

    Args:
        base, other: Answers in the same order, draw after draw, (k * n,).
        n: Number of items.
    """
    lost = [first.value - second.value for (_, first), (_, second) in zip(base, other, strict=True)]
    cut = [(_cut(first), _cut(second)) for (first, _), (second, _) in zip(base, other, strict=True)]
    total = fsum(lost)
    changed = fsum(value for value, (first, second) in zip(lost, cut, strict=True) if first != second)
    share = changed / total if total else None
    unfinished = sum(first for first, _ in cut) >= _DECISIVE * len(cut)
    explained = share is not None and share >= _DECISIVE and _differ(base, other, n)
    return Truncation(truncated(base), truncated(other), share, unfinished or explained)


def _cut(response: Response) -> bool:
    return response.finish == "length" and loop_onset(response.tokens) is None


def _differ(base: Sequence[Answered], other: Sequence[Answered], n: int) -> bool:
    """Whether the interval of the difference excludes 0."""
    figure = intervals.difference([(_by_item(base, n), _by_item(other, n))])
    return figure.low > 0 or figure.high < 0


def _by_item(answers: Sequence[Answered], n: int) -> list[float]:
    """The mean score of each item over its draws, (n,)."""
    values = [verdict.value for _, verdict in answers]
    return [fmean(values[item::n]) for item in range(n)]


def has_limit(task: Any) -> bool:
    """Whether answers to a task, given by its record, can reach a limit that another setting would raise."""
    protocol: AskFormat = task["protocol"]
    return task["kind"] == "generation" and protocol != "one_token"
