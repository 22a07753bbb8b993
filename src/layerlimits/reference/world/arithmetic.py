"""Arithmetic without intermediate steps, in the format of GPT-3's `single_digit_three_ops` and related formats."""

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
    """The tree in the format of the benchmark, with inner operations in parentheses: "(4 * 4) * 1"."""
    if isinstance(tree, int):
        return str(tree)
    left, sign, right = (part if isinstance(part, str) else _inner(part) for part in tree)
    return f"{left} {sign} {right}"


def _inner(tree: Tree) -> str:
    return write(tree) if isinstance(tree, int) else f"({write(tree)})"


def canonical(tree: Tree) -> str:
    """A key that does not depend on the order or grouping of + and * operands: 2 + (3 + 4) equals (4 + 3) + 2."""
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
    """Parse an expression such as "(a op b) op c", in the format of `write`.

    Raises:
        ValueError: The text does not have this format.
    """
    words = text.replace("(", " ( ").replace(")", " ) ").split()
    tree, rest = _expression(words)
    if rest:
        raise ValueError(f"not an arithmetic problem in this format: {text!r}")
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
        raise ValueError("missing operand")
    if words[0] != "(":
        return int(words[0]), words[1:]
    tree, words = _expression(words[1:])
    if not words or words[0] != ")":
        raise ValueError("unclosed parenthesis")
    return tree, words[1:]


@cache
def reserved() -> frozenset[str]:
    """Hashed keys of the 2,000 problems of GPT-3's set, excluded from training so that the file can be evaluated."""
    return frozenset(files("layerlimits.reference.world").joinpath("gpt3_arithmetic.hashes").read_text().split())


def owner(key: str) -> str | None:
    """The split of an arithmetic problem; None for problems of GPT-3's set, which belong to no generated split."""
    return None if digest(key, 10) in reserved() else split_of(key)


def _problem(tree: Tree) -> Problem:
    return Problem(canonical(tree), f"What is {write(tree)}?", str(evaluate(tree)))


def three_ops(rng: random.Random) -> Problem:
    """A problem in the format of GPT-3's set: (a op b) op c over the digits 1 to 9."""
    a, b, c = (rng.randint(1, 9) for _ in range(3))
    return _problem(((a, rng.choice(_SIGNS), b), rng.choice(_SIGNS), c))


def family(rng: random.Random) -> Problem:
    """A wider family for training: that format, the other nesting, two-operand steps and larger operands."""
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
    """A two-operand problem, as in the second step of a three-operand one, including negative numbers."""
    sign = rng.choice(_SIGNS)
    left = rng.randint(-8, 81) if rng.random() < 0.7 else rng.randint(1, 9)
    right = rng.randint(1, 9) if sign == "*" or rng.random() < 0.7 else rng.randint(10, 99)
    return _problem((left, sign, right))
