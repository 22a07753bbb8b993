"""Arithmetic errors: exact match, first character, and correctness of the equations in worked answers."""

import operator
import re

from layerlimits.diagnostics import Answered, Diagnostic

_STEP = re.compile(r"(-?\d+) ([-+*/]) (\d+) = (-?\d+)")
_OPERATE = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.floordiv}


def true_steps(text: str) -> float | None:
    """The fraction of equations "a op b = c" in the text that are correct; None if there is none."""
    steps = _STEP.findall(text)
    defined = [op != "/" or int(b) != 0 for _, op, b, _ in steps]
    correct = [ok and _OPERATE[op](int(a), int(b)) == int(c) for ok, (a, op, b, c) in zip(defined, steps, strict=True)]
    return sum(correct) / len(correct) if correct else None


def _measure(answered: Answered) -> dict[str, float]:
    text, target = answered.response.text.strip(), answered.target
    if "####" not in target:
        return {
            "exact match": float(text == target),
            "first character": float(text[:1] == target[:1]),
            "is a number": float(re.fullmatch(r"-?\d+", text) is not None),
        }
    share = true_steps(text)
    return {"exact match": answered.verdict.value} | ({} if share is None else {"equations that hold": share})


arithmetic = Diagnostic(
    "arithmetic", _measure, ("arithmetic", "word_problems"), "arXiv 2602.01997, with exact match beside the first digit"
)
