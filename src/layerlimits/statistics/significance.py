"""Whether two models differ, and how many items it takes to see it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

_LEVEL = 0.05


@dataclass(frozen=True)
class McNemar:
    """Two models on the same n items: `b` only the base gets right, `c` only the other, and the two-sided p-value."""

    b: int
    c: int
    p: float
    n: int


def mcnemar(base: Sequence[float], other: Sequence[float]) -> McNemar:
    """McNemar's exact test that both models are right equally often, on the same items in the same order.

    p = 2 P(X <= min(b, c)), at most 1, with X binomial(b + c, 1/2): the exact conditional p-value, not the mid-p
    one, so that false alarms are at most as frequent as the level says (McNemar 1947; Fay 2010).

    Raises:
        ValueError: values other than right (1) or wrong (0), or unlike numbers of them.
    """
    pairs = list(zip(base, other, strict=True))
    if any(value not in (0, 1) for pair in pairs for value in pair):
        raise ValueError("McNemar's test compares right-or-wrong values: 0 or 1")
    b, c = pairs.count((1, 0)), pairs.count((0, 1))
    term = total = 1
    for hits in range(min(b, c)):
        term = term * (b + c - hits) // (hits + 1)
        total += term
    # A quotient of whole numbers: their float values would overflow beyond a thousand items.
    return McNemar(b, c, min(1.0, 2 * total / 2 ** (b + c)), len(pairs))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of m tests, in the order given: those at most .05 hold together (Holm 1979).

    The i-th smallest is multiplied by m - i + 1, made no smaller than the one before it, and cut at 1.
    """
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted


def items_needed(difference: float, accuracy: float = 0.5, power: float = 0.8, agreement: float = 0.0) -> int:
    """How many items both models must answer for a difference in accuracy to show, at the 5% level, two-sided.

    n = (z_a sqrt(s) + z_p sqrt(s - d^2))^2 / d^2 for McNemar's test (Connor 1987), with s the share of items on which
    just one model is right. Assumed: the models' answers correlate with `agreement` (phi); 0, items that one model gets
    right being no easier for the other, asks for the most items that models of the same kind may need.

    Args:
        difference: to be seen, in 0..1 (.05 is five points).
        accuracy: of the base model; the other's is lower by the difference, or higher where it cannot be lower.
        power: the chance of seeing it.
        agreement: correlation of the two models' right-or-wrong values over items, 0..1.
    Raises:
        ValueError: a difference that two accuracies cannot have, or a power or agreement out of its range.
    """
    other = accuracy - difference if accuracy >= difference else accuracy + difference
    if not (0 < difference <= 1 and 0 <= accuracy <= 1 and 0 <= other <= 1):
        raise ValueError(f"no accuracy differs from {accuracy} by {difference}")
    if not (_LEVEL < power < 1 and 0 <= agreement <= 1):
        raise ValueError(f"power {power} must be in {_LEVEL}..1 and agreement {agreement} in 0..1")
    apart = accuracy * (1 - other) + other * (1 - accuracy)
    apart -= 2 * agreement * math.sqrt(accuracy * (1 - accuracy) * other * (1 - other))
    apart = max(apart, difference)
    level, seen = NormalDist().inv_cdf(1 - _LEVEL / 2), NormalDist().inv_cdf(power)
    return math.ceil((level * math.sqrt(apart) + seen * math.sqrt(apart - difference**2)) ** 2 / difference**2)


def cannot_tell(n: int, difference: float, accuracy: float = 0.5, agreement: float = 0.0) -> str | None:
    """A warning where n items would show a difference in less than four of five studies, else None.

    "100 items cannot tell 5 points apart: use 1,600"; see `items_needed` for what is assumed.
    """
    needed = items_needed(difference, accuracy, agreement=agreement)
    if n >= needed:
        return None
    points = f"{100 * difference:.3g}"
    step = 10 ** max(0, len(str(needed)) - 2)
    use = f"{-(-needed // step) * step:,}"
    items = "1 item" if n == 1 else f"{n:,} items"
    return f"{items} cannot tell {points} point{'s' * (points != '1')} apart: use {use}"
