"""Score one-line integer functions on hidden inputs without executing any code.

The answer is parsed, and a whitelist of syntax nodes is evaluated. The only name allowed is the argument, and the only
calls are abs, max and min; powers, strings and attributes are rejected.
"""

import ast
import operator
import re
from collections.abc import Callable, Sequence

from layerlimits.scoring.transcript import own_answer
from layerlimits.types import Response, Verdict

_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Mod: operator.mod,
    ast.FloorDiv: operator.floordiv,
}
_CALLS: dict[str, Callable[..., int]] = {"abs": abs, "max": max, "min": min}
_LONGEST = 2_000
_LARGEST = 10**30
_FUNCTION = re.compile(r"def f\(x\):\s*return [^\n]*")


class NotAllowedError(Exception):
    """The answer uses something outside the whitelist; the message says what."""


def parse(text: str) -> ast.expr:
    """Parse the expression returned by `def f(x): return ...`.

    Raises:
        NotAllowedError: There is no such function, it is not valid Python, or it is too long.
    """
    if len(text) > _LONGEST:
        raise NotAllowedError(f"more than {_LONGEST} characters")
    definition = _FUNCTION.search(text)
    if not definition:
        raise NotAllowedError("no function f(x)")
    try:
        body = ast.parse(definition.group()).body
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        raise NotAllowedError(f"not valid Python: {getattr(error, 'msg', type(error).__name__)}") from None
    function = body[0]
    assert isinstance(function, ast.FunctionDef)
    last = function.body[-1]
    if not isinstance(last, ast.Return) or last.value is None:
        raise NotAllowedError("the function returns nothing")
    return last.value


def compute(node: ast.expr, x: int) -> int:
    """Evaluate a whitelisted expression at x.

    Raises:
        NotAllowedError: A node is not on the whitelist, a number exceeds 10^30, or there is a division by zero.
    """
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return _bounded(node.value)
    if isinstance(node, ast.Name) and node.id == "x":
        return x
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -compute(node.operand, x)
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _binary(node, x)
    if isinstance(node, ast.Call):
        return _call(node, x)
    raise NotAllowedError(f"{type(node).__name__} is not allowed")


def _binary(node: ast.BinOp, x: int) -> int:
    try:
        return _bounded(_BINARY[type(node.op)](compute(node.left, x), compute(node.right, x)))
    except ZeroDivisionError:
        raise NotAllowedError("division by zero") from None


def _call(node: ast.Call, x: int) -> int:
    if not isinstance(node.func, ast.Name) or node.func.id not in _CALLS or node.keywords:
        raise NotAllowedError("only abs, max and min may be called")
    arguments = [compute(argument, x) for argument in node.args]
    if len(arguments) != (1 if node.func.id == "abs" else 2):
        raise NotAllowedError(f"{node.func.id} called with {len(arguments)} arguments")
    return _CALLS[node.func.id](*arguments)


def _bounded(value: int) -> int:
    if abs(value) > _LARGEST:
        raise NotAllowedError("a number exceeds 10^30")
    return value


def judge(response: Response, target: str, inputs: Sequence[int]) -> Verdict:
    """Correct if the function agrees with the reference function on every hidden input."""
    reference = parse(target)
    own = own_answer(response)
    try:
        expression = parse(own.text)
        wrong = [x for x in inputs if compute(expression, x) != compute(reference, x)]
    except (NotAllowedError, RecursionError) as error:
        if not own.finished:
            return Verdict("truncated", 0.0, why=f"truncated after {len(response.tokens)} tokens")
        missing = "no function" in str(error)
        return Verdict("no_answer" if missing else "error", 0.0, why=str(error) or type(error).__name__)
    answer = ast.unparse(expression)
    if wrong:
        return Verdict(
            "wrong", 0.0, answer, f"wrong for {len(wrong)} of {len(inputs)} inputs, first for x = {wrong[0]}"
        )
    return Verdict("correct", 1.0, answer)
