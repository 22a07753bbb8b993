"""Significance of the difference between two models, and the number of items needed to detect one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from layerlimits.types import Estimate

_LEVEL = 0.05
# Random sign patterns of the sign-flip test, all at once for so many items.
_FLIPS, _ITEMS_AT_A_TIME = 9999, 1000


@dataclass(frozen=True)
class McNemar:
    """McNemar's test on n items: `b` only the base gets right, `c` only the other; `p` is the two-sided p-value."""

    b: int
    c: int
    p: float
    n: int


def mcnemar(base: Sequence[float], other: Sequence[float]) -> McNemar:
    """McNemar's exact test of equal accuracy, on the same items in the same order.

    p = 2 P(X <= min(b, c)), at most 1, with X ~ binomial(b + c, 1/2). This is the exact conditional p-value rather than
    the mid-p value, so the false-positive rate never exceeds the level (McNemar 1947; Fay 2010).

    Raises:
        ValueError: A value is not right (1) or wrong (0), or the number of values differs.
    """
    pairs = list(zip(base, other, strict=True))
    if any(value not in (0, 1) for pair in pairs for value in pair):
        raise ValueError("McNemar's test requires binary values, 0 or 1")
    b, c = pairs.count((1, 0)), pairs.count((0, 1))
    term = total = 1
    for hits in range(min(b, c)):
        term = term * (b + c - hits) // (hits + 1)
        total += term
    # Divide integers: as floats, they would overflow above a thousand items.
    return McNemar(b, c, min(1.0, 2 * total / 2 ** (b + c)), len(pairs))


def sign_flip(base: Sequence[float], other: Sequence[float]) -> float:
    """Two-sided p-value of the paired sign-flip test of equal means, for graded values of the same items.

    If the models are equally good, the difference of an item is as likely to have the other sign (Fisher 1935). p is
    (1 + the number of random sign patterns whose sum is at least as far from 0) / (1 + their number), which never
    rejects more often than the level (Phipson & Smyth 2010). The patterns are those of a fixed seed.

    Raises:
        ValueError: The number of values differs.
    """
    pairs = zip(base, other, strict=True)
    differences = np.array([second - first for first, second in pairs if first != second])
    draw, sums = np.random.default_rng(0), np.zeros(_FLIPS)
    for start in range(0, len(differences), _ITEMS_AT_A_TIME):
        part = differences[start : start + _ITEMS_AT_A_TIME]
        sums += (2 * draw.integers(0, 2, (_FLIPS, len(part)), dtype=np.int8) - 1) @ part
    # Sums of the same numbers in another order differ by rounding.
    extreme = np.abs(sums) >= abs(differences.sum()) - 1e-9
    return float((1 + extreme.sum()) / (1 + _FLIPS))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values of m tests, in input order; rejecting those at most .05 controls family-wise error.

    The i-th smallest is multiplied by m - i + 1, raised to at least the previous one, and capped at 1 (Holm 1979).
    """
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted


def items_needed(
    difference: float, accuracy: float = 0.5, power: float = 0.8, agreement: float = 0.0, tests: int = 1
) -> int:
    """The number of items needed to detect a difference in accuracy at the two-sided 5% level.

    n is the smallest solution of n d >= z_a sqrt(n s) + z_p sqrt(n (s - d^2)) + 1 for McNemar's test (Connor 1987).
    s is the fraction of items on which exactly one model is right; the 1 is the continuity correction, as the exact
    test is used. The models' answers are assumed to correlate with `agreement` (phi). The default of 0, independent
    answers, is conservative: related models correlate positively and need fewer items.

    Args:
        difference: Difference to detect, in 0..1 (.05 is five points).
        accuracy: Accuracy of the base model; the other's is lower by the difference, or higher if it cannot be lower.
        power: Probability of detecting the difference.
        agreement: Correlation of the two models' binary values over items, 0..1.
        tests: Number of tests that are corrected together by Holm's method. The level is 5% / tests, as at its first
            step: the other models of the table may not differ.
    Raises:
        ValueError: No two accuracies have this difference, or another argument is out of range.
    """
    other = accuracy - difference if accuracy >= difference else accuracy + difference
    if not (0 < difference <= 1 and 0 <= accuracy <= 1 and 0 <= other <= 1):
        raise ValueError(f"no accuracy in 0..1 differs from {accuracy} by {difference}")
    if not (_LEVEL < power < 1 and 0 <= agreement <= 1 and tests >= 1):
        raise ValueError(f"power {power} must be in {_LEVEL}..1, agreement {agreement} in 0..1, and tests {tests} >= 1")
    apart = accuracy * (1 - other) + other * (1 - accuracy)
    apart -= 2 * agreement * math.sqrt(accuracy * (1 - accuracy) * other * (1 - other))
    apart = max(apart, difference)
    level, seen = NormalDist().inv_cdf(1 - _LEVEL / tests / 2), NormalDist().inv_cdf(power)
    spread = level * math.sqrt(apart) + seen * math.sqrt(apart - difference**2)
    return math.ceil(((spread + math.sqrt(spread**2 + 4 * difference)) / (2 * difference)) ** 2)


def low_power(n: int, difference: float, score: Estimate, agreement: float = 0.0, tests: int = 1) -> str | None:
    """A warning if n items may detect a difference with less than 80% power, else None.

    "n = 100 is too small to detect a 5-point difference with 80% power; use 1,700"; assumptions as in `items_needed`.

    Args:
        n: Number of items.
        difference: Difference to detect, in 0..1.
        score: Accuracy of the base model. The accuracy in its interval that is closest to one half counts, since a
            score of 0 of 15 does not show that the accuracy is 0.
        agreement, tests: As for `items_needed`.
    """
    accuracy = min(max(0.5, score.low), score.high)
    needed = items_needed(difference, accuracy, agreement=agreement, tests=tests)
    if n >= needed:
        return None
    points = f"{100 * difference:.3g}"
    step = 10 ** max(0, len(str(needed)) - 2)
    enough = f"{-(-needed // step) * step:,}"
    family = f" in one of {tests} tests (Holm)" if tests > 1 else ""
    return f"n = {n:,} is too small to detect a {points}-point difference with 80% power{family}; use {enough}"
