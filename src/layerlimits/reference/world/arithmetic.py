"""Arithmetic without working, in the wording of GPT-3's `single_digit_three_ops` and a family around it."""

import operator
import random
from functools import cache
from importlib.resources import files

from layerlimits.reference.world.problem import Problem, digest, split_of

_OPERATE = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_SIGNS = ("+", "-", "*")

Tree = int | tuple["Tree", str, "Tree"]


def evaluate(tree: Tree) -> int:
    """The value of an expression tree."""
    if isinstance(tree, int):
        return tree
    left, sign, right = tree
    return int(_OPERATE[sign](evaluate(left), evaluate(right)))


def write(tree: Tree) -> str:
    """The tree in the wording of the benchmark: inner operations in parentheses, "(4 * 4) * 1"."""
    if isinstance(tree, int):
        return str(tree)
    left, sign, right = (part if isinstance(part, str) else _inner(part) for part in tree)
    return f"{left} {sign} {right}"


def _inner(tree: Tree) -> str:
    return write(tree) if isinstance(tree, int) else f"({write(tree)})"


def canonical(tree: Tree) -> str:
    """A key that is the same however the operands of + and * are ordered or grouped: 2 + (3 + 4) is (4 + 3) + 2."""
    if isinstance(tree, int):
        return str(tree)
    left, sign, right = tree
    if sign == "-":
        return f"({canonical(left)}-{canonical(right)})"
    return "(" + sign.join(sorted(_operands(tree, sign))) + ")"


def _operands(tree: Tree, sign: str) -> list[str]:
    if isinstance(tree, tuple) and tree[1] == sign:
        return _operands(tree[0], sign) + _operands(tree[2], sign)
    return [canonical(tree)]


def parse(text: str) -> Tree:
    """The tree of "(a op b) op c" and its relatives as `write` makes them.

    Raises:
        ValueError: the text is not of that form.
    """
    words = text.replace("(", " ( ").replace(")", " ) ").split()
    tree, rest = _expression(words)
    if rest:
        raise ValueError(f"not an arithmetic problem of this form: {text!r}")
    return tree


def _expression(words: list[str]) -> tuple[Tree, list[str]]:
    left, words = _operand(words)
    if words and words[0] in _OPERATE:
        sign = words[0]
        right, words = _operand(words[1:])
        return (left, sign, right), words
    return left, words


def _operand(words: list[str]) -> tuple[Tree, list[str]]:
    if not words:
        raise ValueError("an operand is missing")
    if words[0] != "(":
        return int(words[0]), words[1:]
    tree, words = _expression(words[1:])
    if not words or words[0] != ")":
        raise ValueError("a parenthesis is not closed")
    return tree, words[1:]


@cache
def reserved() -> frozenset[str]:
    """Hashed keys of the 2,000 problems of GPT-3's set: never trained on, whoever evaluates on the real file."""
    return frozenset(files("layerlimits.reference.world").joinpath("gpt3_arithmetic.hashes").read_text().split())


def owner(key: str) -> str | None:
    """The split of an arithmetic problem; None for those of GPT-3's set, which no generated split may hold."""
    return None if digest(key, 10) in reserved() else split_of(key)


def _problem(tree: Tree) -> Problem:
    return Problem(canonical(tree), f"What is {write(tree)}?", str(evaluate(tree)))


def three_ops(rng: random.Random) -> Problem:
    """A problem of the form of GPT-3's set: (a op b) op c over the digits 1 to 9."""
    a, b, c = (rng.randint(1, 9) for _ in range(3))
    return _problem(((a, rng.choice(_SIGNS), b), rng.choice(_SIGNS), c))


def family(rng: random.Random) -> Problem:
    """The wider family for training: that form, the other nesting, the two-operand steps, larger operands."""
    kind = rng.random()
    if kind < 0.45:
        return three_ops(rng)
    if kind < 0.55:
        a, b, c = (rng.randint(1, 9) for _ in range(3))
        return _problem((a, rng.choice(_SIGNS), (b, rng.choice(_SIGNS), c)))
    if kind < 0.85:
        return _step(rng)
    a, b, c = rng.randint(1, 20), rng.randint(1, 20), rng.randint(1, 9)
    return _problem(((a, rng.choice("+-"), b), rng.choice(_SIGNS), c))


def _step(rng: random.Random) -> Problem:
    """Two operands: what the second step of a three-operand problem needs, negative numbers included."""
    sign = rng.choice(_SIGNS)
    left = rng.randint(-8, 81) if rng.random() < 0.7 else rng.randint(1, 9)
    right = rng.randint(1, 9) if sign == "*" or rng.random() < 0.7 else rng.randint(10, 99)
    return _problem((left, sign, right))
