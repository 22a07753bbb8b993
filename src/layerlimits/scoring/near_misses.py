"""Generate wrong numbers from a correct one, so that numeric answers can be scored as multiple choice."""

import random
import re
from collections.abc import Callable

from layerlimits.errors import UserError
from layerlimits.types import content_hash

_WRITTEN = re.compile(r"(?P<sign>[-−]?)(?P<whole>\d{1,3}(?:,\d{3})+|\d+)(?:\.(?P<decimals>\d+))?")


def near_misses(answer: str, count: int = 3, key: str = "") -> tuple[str, ...]:
    """Wrong numbers in the same format as the answer: decimals, thousands separators and minus sign.

    They alternate between kinds of mistakes: off by one or ten in the last place, one digit changed, two digits
    swapped, opposite sign. Their values are distinct and differ from the answer. The result depends only on `answer`,
    `count` and `key`.

    Args:
        key: Distinguishes items with the same answer, such as the question.

    Raises:
        UserError: The answer is not an integer or decimal number, or there are fewer than `count` near misses.
    """
    form = _WRITTEN.fullmatch(answer)
    if not form:
        raise UserError(
            f"cannot make near misses of {answer!r}: not a plain number such as -1,234.5", "use plain digits"
        )
    decimals = form["decimals"] or ""
    whole = form["whole"].replace(",", "")
    value = int(whole + decimals) * (-1 if form["sign"] else 1)
    made = _in_turn(value, len(decimals), random.Random(content_hash([answer, key])))
    if len(made) < count:
        raise UserError(f"cannot make {count} near misses of {answer}: only {len(made)} exist", "request fewer")
    # An answer below 1,000 does not show how thousands are separated; larger near misses are then written plainly.
    write = _writer(len(decimals), grouped="," in form["whole"], minus=form["sign"] or "-")
    return tuple(write(miss) for miss in made[:count])


def _in_turn(value: int, decimals: int, draw: random.Random) -> list[int]:
    """One mistake of each kind in random order, then the next of each; values are in units of the last place."""
    kinds = [[value + 1, value - 1], [value + 10, value - 10], [-value], *_by_digits(value, decimals)]
    draw.shuffle(kinds)
    for kind in kinds:
        draw.shuffle(kind)
    turns = (kind[turn] for turn in range(max(map(len, kinds))) for kind in kinds if turn < len(kind))
    return [miss for miss in dict.fromkeys(turns) if miss != value]


def _by_digits(value: int, decimals: int) -> list[list[int]]:
    """The number with one digit changed, and with two digits swapped; its length stays the same."""
    digits = str(abs(value)).rjust(decimals + 1, "0")
    sign = -1 if value < 0 else 1
    changed = [digits[:place] + digit + digits[place + 1 :] for place in range(len(digits)) for digit in "0123456789"]
    swapped = [
        digits[:left] + digits[right] + digits[left + 1 : right] + digits[left] + digits[right + 1 :]
        for right in range(len(digits))
        for left in range(right)
    ]
    # Leading zeros are not allowed, except the one before a decimal point.
    return [
        [
            sign * int(changed_digits)
            for changed_digits in kind
            if changed_digits[0] != "0" or len(changed_digits) == decimals + 1
        ]
        for kind in (changed, swapped)
    ]


def _writer(decimals: int, *, grouped: bool, minus: str) -> Callable[[int], str]:
    def write(value: int) -> str:
        digits = str(abs(value)).rjust(decimals + 1, "0")
        whole, rest = digits[: len(digits) - decimals], digits[len(digits) - decimals :]
        shown = f"{int(whole):,}" if grouped else whole
        return f"{minus if value < 0 else ''}{shown}{'.' if rest else ''}{rest}"

    return write
