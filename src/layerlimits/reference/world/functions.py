"""Small functions described in words and answered in one line of nested Python (the counterpart of HumanEval)."""

import random

from layerlimits.reference.world.problem import Problem

_OPERATIONS: tuple[tuple[str, str, int, int], ...] = (
    ("add {k}", "({e} + {k})", 1, 9),
    ("subtract {k}", "({e} - {k})", 1, 9),
    ("multiply by {k}", "({e} * {k})", 2, 9),
    ("take the remainder by {k}", "({e} % {k})", 2, 9),
    ("take the larger of it and {k}", "max({e}, {k})", 1, 9),
    ("take the smaller of it and {k}", "min({e}, {k})", 1, 9),
    ("take the absolute value", "abs({e})", 0, 0),
    ("negate it", "(-{e})", 0, 0),
)
HIDDEN_INPUTS = (-13, -6, -2, -1, 0, 1, 2, 5, 8, 17, 40)


def function(rng: random.Random) -> Problem:
    """A chain of two to five operations in words; the key is the chain."""
    words, expression = [], "x"
    for _ in range(rng.randint(2, 5)):
        say, code, low, high = rng.choice(_OPERATIONS)
        k = rng.randint(low, high)
        words.append(say.format(k=k))
        expression = code.format(e=expression, k=k)
    description = ", then ".join(words)
    return Problem(f"function {description}", f"Write f(x): {description}.", f"def f(x): return {expression}")
