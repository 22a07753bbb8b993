"""Completion of Dyck-3 prefixes: "([]{(" is completed by ")})"."""

import random

from layerlimits.reference.world.problem import Problem

PAIRS = {"(": ")", "[": "]", "{": "}"}
_DEEPEST = 10


def closing(prefix: str) -> str:
    """The closing brackets that complete a prefix.

    Raises:
        ValueError: A closing bracket in the prefix has no matching open bracket.
    """
    open_now: list[str] = []
    for mark in prefix:
        if mark in PAIRS:
            open_now.append(PAIRS[mark])
        elif not open_now or open_now.pop() != mark:
            raise ValueError(f"{prefix!r} cannot be completed")
    return "".join(reversed(open_now))


def bracket_prefix(rng: random.Random) -> Problem:
    """A random prefix with a final depth of 1 to 10, roughly uniform."""
    target = rng.randint(1, _DEEPEST)
    extra = rng.randint(0, 6)
    prefix, open_now = "", ""
    while len(open_now) < target or extra > 0:
        full = len(open_now) >= _DEEPEST
        if open_now and extra > 0 and (full or rng.random() < 0.35):
            prefix, open_now, extra = prefix + PAIRS[open_now[-1]], open_now[:-1], extra - 1
        elif not full and (len(open_now) < target or extra > 0):
            mark = rng.choice("([{")
            prefix, open_now = prefix + mark, open_now + mark
            extra -= len(open_now) > target
    return Problem(f"brackets {prefix}", f"Close the brackets: {prefix}", closing(prefix))
