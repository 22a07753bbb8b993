"""Wrong numbers made from a right one, so that an answer in digits can be chosen by likelihood."""

import random
import re
from collections.abc import Callable

from layerlimits.errors import UserError
from layerlimits.types import content_hash

_WRITTEN = re.compile(r"(?P<sign>[-−]?)(?P<whole>\d{1,3}(?:,\d{3})+|\d+)(?:\.(?P<decimals>\d+))?")


def near_misses(answer: str, count: int = 3, key: str = "") -> tuple[str, ...]:
    """Wrong numbers, written like the answer: its decimals, its separators of thousands, its sign for minus.

    As many kinds of mistake as can be take turns: off by one or by ten in the last place, one digit, two digits
    swapped, the other sign. No two are equal in value, and none is the answer. `answer`, `count` and `key` alone decide
    which.

    Args:
        key: what tells items with the same answer apart, such as the question.
    Raises:
        UserError: the answer is no whole or decimal number, or so many cannot be made.
    """
    form = _WRITTEN.fullmatch(answer)
    if not form:
        raise UserError(f"near misses of {answer!r}, which is no number such as -1,234.5", "give plain digits")
    decimals = form["decimals"] or ""
    whole = form["whole"].replace(",", "")
    value = int(whole + decimals) * (-1 if form["sign"] else 1)
    made = _in_turn(value, len(decimals), random.Random(content_hash([answer, key])))
    if len(made) < count:
        raise UserError(f"{count} near misses of {answer}, and only {len(made)} can be made", "ask for fewer")
    # A number below a thousand does not tell how its set separates thousands; misses above are then plain.
    write = _writer(len(decimals), grouped="," in form["whole"], minus=form["sign"] or "-")
    return tuple(write(miss) for miss in made[:count])


def _in_turn(value: int, decimals: int, draw: random.Random) -> list[int]:
    """One mistake of each kind in a drawn order, then the next of each; values in units of the last place."""
    kinds = [[value + 1, value - 1], [value + 10, value - 10], [-value], *_by_digits(value, decimals)]
    draw.shuffle(kinds)
    for kind in kinds:
        draw.shuffle(kind)
    turns = (kind[turn] for turn in range(max(map(len, kinds))) for kind in kinds if turn < len(kind))
    return [miss for miss in dict.fromkeys(turns) if miss != value]


def _by_digits(value: int, decimals: int) -> list[list[int]]:
    """With one digit changed, and with two swapped; the number keeps its length."""
    digits = str(abs(value)).rjust(decimals + 1, "0")
    sign = -1 if value < 0 else 1
    changed = [digits[:place] + digit + digits[place + 1 :] for place in range(len(digits)) for digit in "0123456789"]
    swapped = [
        digits[:left] + digits[right] + digits[left + 1 : right] + digits[left] + digits[right + 1 :]
        for right in range(len(digits))
        for left in range(right)
    ]
    # 012 is no way to write 12, and 0.12 is one.
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
