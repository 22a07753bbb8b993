"""Arithmetic in questions and solutions: expressions, their features, and how a wrong result came about."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal, get_args

from layerlimits.analysis.markup import SIGNS, plain_text

ErrorKind = Literal[
    "not a number",
    "off by a power of ten",
    "digits swapped",
    "wrong sign",
    "copied operand",
    "wrong operator",
    "precedence ignored",
    "off by one",
    "other",
]
ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)

_WORDS = {"plus": "+", "minus": "-", "times": "*", "multiplied by": "*", "divided by": "/"}
# Every repeat has a bound, and a character can be read by one part only: reading takes time in proportion to the length
# of a text, whatever it contains.
_NUMBER = r"(?:(?<![\d,.])\d[\d,]{0,40}(?:\.\d{1,40})?|(?<![\d.])\.\d{1,40})"
_TERM = rf"[(\s$]{{0,8}}(?:-\$?)?{_NUMBER}%?[)\s]{{0,8}}"
_EXPRESSION = re.compile(rf"{_TERM}(?:[-+*/]{_TERM}){{1,16}}")
_SIDE = rf"{_TERM}(?:[-+*/]{_TERM}){{0,16}}"
_CHAIN = re.compile(rf"{_SIDE}(?:={_SIDE}){{1,8}}")
# Multiplied letters after a number, or one letter after another operator.
_UNKNOWN = re.compile(r"[ )]{0,2}(?:[*/^][ (]{0,2}[A-Za-z]|[-+] ?[a-z]\b)|[A-Za-z](?![A-Za-z])")
# Longer expressions are not evaluated, nor is more of a text read.
_LONGEST, _MOST_CHARACTERS = 120, 100_000
_MOST_POWER = 9

Node = Fraction | tuple["Node", str, "Node"]


@dataclass(frozen=True)
class Operation:
    """An expression in a text and the result that the text states, from character `start` to `end`."""

    tree: Node
    stated: Fraction
    start: int
    end: int

    @property
    def right(self) -> Fraction | None:
        """The right result; None for a division by zero."""
        return value(self.tree)


def parsed(text: str) -> Node | None:
    """The expression tree of numbers and + - * / with the usual precedence; None if it is not an expression."""
    plain = text.translate(SIGNS).replace("$", "").replace(",", "").replace("%", "").strip()
    if not plain or len(plain) > _LONGEST:
        return None
    try:
        return _node(ast.parse(_without_zeros(plain), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _without_zeros(text: str) -> str:
    """Python rejects numbers such as 007."""
    return re.sub(r"(?<![\d.])0+(?=\d)", "", text)


def _node(node: ast.expr) -> Node:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Fraction(str(node.value))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _node(node.operand)
        return -inner if isinstance(inner, Fraction) else (Fraction(0), "-", inner)
    signs = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
    if isinstance(node, ast.BinOp) and type(node.op) in signs:
        return _node(node.left), signs[type(node.op)], _node(node.right)
    raise ValueError("not arithmetic")


def value(tree: Node) -> Fraction | None:
    """The value of an expression; None for a division by zero."""
    if isinstance(tree, Fraction):
        return tree
    left, right = value(tree[0]), value(tree[2])
    return None if left is None or right is None else _result(left, tree[1], right)


def _result(left: Fraction, sign: str, right: Fraction) -> Fraction | None:
    if sign == "/":
        return left / right if right else None
    return left + right if sign == "+" else left - right if sign == "-" else left * right


def question_tree(question: str) -> Node | None:
    """The expression that a question asks for, such as "What is (3 * 4) - 5?" or "What is 98 plus 45?"."""
    text = question[:_MOST_CHARACTERS].translate(SIGNS)
    for word, sign in _WORDS.items():
        text = re.sub(rf"\b{word}\b", f" {sign} ", text)
    found = max((match[0] for match in _EXPRESSION.finditer(text)), key=len, default="")
    # A bracket that belongs to the sentence is not part of the expression.
    return parsed(found) or parsed(found.strip("() "))


def operations(text: str) -> Iterator[Operation]:
    """Every "a op b = c" in a text, in order; also with several operators, as in GSM8K's <<16-3-4=9>>, in LaTeX, and
    with units. In "a op b = c op d = e", the value of the second expression is what the first equation states.
    """
    plain = plain_text(text[:_MOST_CHARACTERS])
    for match in _CHAIN.finditer(plain.text):
        if _has_unknown(plain.text, match):
            continue
        start = match.start()
        sides = match[0].split("=")
        for left, right in pairwise(sides):
            end = start + len(left) + 1 + len(right)
            tree, stated = parsed(_balanced(left)), parsed(_balanced(right))
            given = None if stated is None else value(stated)
            if tree is not None and not isinstance(tree, Fraction) and given is not None:
                yield _operation(tree, given, "%" in right, *plain.span(start, end - _trailing(right)))
            start += len(left) + 1


def _trailing(text: str) -> int:
    """How many characters after the number with which a side of an equation ends belong to the text around it."""
    return len(text) - len(text.rstrip(" \n\t\r)%"))


def _has_unknown(text: str, chain: re.Match[str]) -> bool:
    """Whether a letter is calculated with right before or after a chain of equations: x + 2 + 3 = 10, 2 + 3 = 5x."""
    before = text[max(0, chain.start() - 8) : chain.start()].rstrip(" (")
    return before.endswith(("+", "-", "*", "/", "^")) or bool(_UNKNOWN.match(text, chain.end()))


def _operation(tree: Node, stated: Fraction, is_percentage: bool, start: int, end: int) -> Operation:
    """An operation; a stated percentage can be read as a number, as in 12 / 20 * 100 = 60%, or as a fraction."""
    as_number = Operation(tree, stated, start, end)
    if not is_percentage or holds(as_number):
        return as_number
    as_fraction = Operation(tree, stated / 100, start, end)
    return as_fraction if holds(as_fraction) else as_number


def _balanced(text: str) -> str:
    """An expression without brackets that are opened before it or closed after it."""
    while text.count("(") > text.count(")") and text.lstrip().startswith("("):
        text = text.lstrip()[1:]
    while text.count(")") > text.count("(") and text.rstrip().endswith(")"):
        text = text.rstrip()[:-1]
    return text


def holds(operation: Operation) -> bool | None:
    """Whether a stated result is right, rounded to the decimal places that are stated; None for a division by zero."""
    right = operation.right
    if right is None:
        return None
    places = _places(operation.stated)
    return abs(right - operation.stated) <= Fraction(1, 2 * 10**places) if places else right == operation.stated


def _places(number: Fraction) -> int:
    """Decimal places of a number, at most 6."""
    return next((places for places in range(7) if (number * 10**places).denominator == 1), 6)


def first_wrong(text: str) -> tuple[int, int] | None:
    """The 0-based number of the first operation of a text whose result is wrong, and where it starts; None if all hold
    or there is none.
    """
    for number, operation in enumerate(operations(text)):
        if holds(operation) is False:
            return number, operation.start
    return None


def signs(tree: Node) -> list[str]:
    """The operators of an expression, in the order in which they are written."""
    return [] if isinstance(tree, Fraction) else [*signs(tree[0]), tree[1], *signs(tree[2])]


def operands(tree: Node) -> list[Fraction]:
    """The numbers of an expression, in the order in which they are written."""
    return [tree] if isinstance(tree, Fraction) else [*operands(tree[0]), *operands(tree[2])]


def digits(tree: Node) -> int:
    """The number of digits of the longest operand, without its fraction."""
    return max(len(str(abs(int(number)))) for number in operands(tree))


def depth(tree: Node) -> int:
    """The number of operations that are nested in one another."""
    return 0 if isinstance(tree, Fraction) else 1 + max(depth(tree[0]), depth(tree[2]))


def carries(tree: Node) -> int | None:
    """How many carries or borrows an addition or subtraction of two whole numbers needs; None for other expressions."""
    if isinstance(tree, Fraction):
        return None
    left, sign, right = tree
    if not isinstance(left, Fraction) or not isinstance(right, Fraction):
        return None
    if sign not in "+-" or left.denominator != 1 or right.denominator != 1 or left < 0 or right < 0:
        return None
    first, second = (int(left), int(right)) if sign == "+" else (int(max(left, right)), int(min(left, right)))
    count = carry = 0
    while first or second:
        total = first % 10 + (second % 10 + carry) * (1 if sign == "+" else -1)
        carry = int(total > 9 or total < 0)
        count += carry
        first, second = first // 10, second // 10
    return count


def error_kind(tree: Node, given: Fraction | None) -> ErrorKind | None:
    """How a wrong result came about, the first kind that fits in the order of `ERROR_KINDS`; None if it is right.

    Args:
        tree: The expression.
        given: The result; None if the answer has no number.
    """
    right = value(tree)
    if given is None:
        return "not a number"
    if right is None:
        return "other"
    if given == right:
        return None
    checks: tuple[tuple[ErrorKind, bool], ...] = (
        ("off by a power of ten", _is_power_apart(given, right)),
        ("digits swapped", _has_same_digits(given, right)),
        ("wrong sign", given == -right),
        ("copied operand", given in operands(tree)),
        ("wrong operator", given in set(with_another_sign(tree))),
        ("precedence ignored", given in _other_orders(tree)),
        ("off by one", abs(given - right) == 1),
    )
    return next((kind for kind, fits in checks if fits), "other")


def _is_power_apart(given: Fraction, right: Fraction) -> bool:
    if not given or not right:
        return False
    return any(given * 10**power == right or right * 10**power == given for power in range(1, _MOST_POWER))


def _has_same_digits(given: Fraction, right: Fraction) -> bool:
    if given.denominator != 1 or right.denominator != 1 or (given < 0) != (right < 0):
        return False
    first, second = str(abs(int(given))), str(abs(int(right)))
    return len(first) > 1 and sorted(first) == sorted(second)


def with_another_sign(tree: Node) -> Iterator[Fraction]:
    """The values of an expression with one operator replaced."""
    if isinstance(tree, Fraction):
        return
    left, sign, right = tree
    variants = [(left, other, right) for other in "+-*/" if other != sign]
    for variant in variants:
        if (result := value(variant)) is not None:
            yield result
    for inner in _subtrees_with_another_sign(left):
        if (result := value((inner, sign, right))) is not None:
            yield result
    for inner in _subtrees_with_another_sign(right):
        if (result := value((left, sign, inner))) is not None:
            yield result


def _subtrees_with_another_sign(tree: Node) -> Iterator[Node]:
    if isinstance(tree, Fraction):
        return
    left, sign, right = tree
    yield from ((left, other, right) for other in "+-*/" if other != sign)
    yield from ((inner, sign, right) for inner in _subtrees_with_another_sign(left))
    yield from ((left, sign, inner) for inner in _subtrees_with_another_sign(right))


def _other_orders(tree: Node) -> set[Fraction]:
    """The values of an expression computed from left to right and from right to left, without brackets."""
    numbers, between = operands(tree), signs(tree)
    forward: Fraction | None = numbers[0]
    for sign, number in zip(between, numbers[1:], strict=True):
        forward = None if forward is None else _result(forward, sign, number)
    backward: Fraction | None = numbers[-1]
    for sign, number in zip(reversed(between), reversed(numbers[:-1]), strict=True):
        backward = None if backward is None else _result(number, sign, backward)
    flat = parsed("".join(f"{number} {sign} " for number, sign in zip(map(str, numbers), [*between, ""], strict=True)))
    return {result for result in (forward, backward, flat and value(flat)) if isinstance(result, Fraction)}
