"""Wrong results that are near the right one of an expression, and why: what a model writes if it errs in one way."""

from collections.abc import Iterator
from fractions import Fraction

from layerlimits.analysis.operations import ErrorKind, Node, error_kind, operands, value, with_another_sign

# Wrong results of each kind, at most.
_MOST_OF_A_KIND = 3


def near_misses(tree: Node) -> dict[Fraction, ErrorKind]:
    """Whole numbers near the result of an expression, with the kind of error that leads to each.

    The kinds are those of `operations.error_kind`, so that a result that several errors explain has the same kind here
    as in an answer. Empty if the result is not a whole number.
    """
    right = value(tree)
    if right is None or right.denominator != 1:
        return {}
    found: dict[Fraction, ErrorKind] = {}
    counts: dict[ErrorKind, int] = {}
    for wrong in _candidates(tree, right):
        kind = error_kind(tree, wrong)
        if wrong in found or wrong.denominator != 1 or kind is None or counts.get(kind, 0) >= _MOST_OF_A_KIND:
            continue
        found[wrong] = kind
        counts[kind] = counts.get(kind, 0) + 1
    return found


def _candidates(tree: Node, right: Fraction) -> Iterator[Fraction]:
    yield from (right + 1, right - 1)
    yield from (right * 10, right / 10)
    yield from with_another_sign(tree)
    yield from operands(tree)
    yield from _swapped(int(right))
    if right:
        yield -right


def _swapped(right: int) -> Iterator[Fraction]:
    """The number with two neighbouring digits swapped, and with all digits reversed."""
    digits, sign = str(abs(right)), -1 if right < 0 else 1
    forms = [
        digits[:place] + digits[place + 1] + digits[place] + digits[place + 2 :] for place in range(len(digits) - 1)
    ]
    for form in (*forms, digits[::-1]):
        if form != digits and not form.startswith("0"):
            yield Fraction(sign * int(form))
