"""Where two responses first differ, and what the token there is."""

import re
from collections.abc import Sequence
from typing import Literal

TokenKind = Literal["digit", "operator", "name", "prose", "space", "end"]

_OPERATOR = re.compile(r"[-+*/=<>%^&|~!@:.,;()\[\]{}\"'`#$\\]+")
_NAME = re.compile(r"[A-Za-z_]\w*")


def first_difference(first: Sequence[object], second: Sequence[object]) -> int | None:
    """Index of the first element that differs, or at which the shorter one ends; None if both are equal."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return None if len(first) == len(second) else min(len(first), len(second))


def kind_at(text: str, index: int, *, is_code: bool) -> TokenKind:
    """What stands at a character of a text: a digit, an operator or mark, a name (in code), prose, "
    "space, or its end.
    """
    if index >= len(text):
        return "end"
    mark = text[index]
    if mark.isspace():
        # The token there begins with the space: what follows it counts.
        rest = text[index:].lstrip()
        return kind_at(rest, 0, is_code=is_code) if rest and "\n" not in text[index : index + 1] else "space"
    if mark.isdigit():
        return "digit"
    if _OPERATOR.match(mark):
        return "operator"
    return "name" if is_code and _NAME.match(mark) else "prose"
