"""The rows of token ids with which a model is asked for a result: the right one, near misses, and first digits."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from layerlimits.analysis.digits import Decode, Encode, encoding_that_writes, tokens_before
from layerlimits.analysis.near_misses import near_misses
from layerlimits.analysis.operations import ErrorKind, Node, holds, operations, value
from layerlimits.types import Continuation

_WHOLE = re.compile(r"(?<![\d.,])-?\d[\d,]*(?!\.\d)")
_DIGITS = "0123456789"


@dataclass(frozen=True)
class StatedResult:
    """A whole number at characters `start` to `end` of a text, the result of an expression."""

    tree: Node
    start: int
    end: int


@dataclass(frozen=True)
class NumberRows:
    """Rows that continue the same context.

    The first row is the right result. If `kinds` has entries, the right result with the token that ends it follows,
    and then a near miss with this token for each kind. If `has_digits`, the last ten rows are the digits 0 to 9 in the
    place of the result's first digit.
    """

    rows: tuple[Continuation, ...]
    texts: tuple[str, ...]
    kinds: tuple[ErrorKind, ...]
    has_digits: bool


def stated_results(text: str) -> Iterator[StatedResult]:
    """The right whole results of the operations "a op b = c" in a text."""
    for operation in operations(text):
        match = _last_whole(text, operation.end)
        if match and holds(operation) and _number(match) == operation.right:
            yield StatedResult(operation.tree, match.start(), match.start() + len(_plain(match)))


def stated_answer(text: str, tree: Node, answer: Fraction) -> StatedResult | None:
    """The last place of a text where the answer to a question stands, whether it is right or not; None if it is no
    whole number.
    """
    matches = [match for match in _WHOLE.finditer(text) if _number(match) == answer]
    return StatedResult(tree, matches[-1].start(), matches[-1].start() + len(_plain(matches[-1]))) if matches else None


def _last_whole(text: str, end: int) -> re.Match[str] | None:
    """The number that ends at a character."""
    start = max(0, end - 40)
    return next((match for match in _WHOLE.finditer(text, start, end) if match.end() == end), None)


def _plain(match: re.Match[str]) -> str:
    return match[0].rstrip(",")


def _number(match: re.Match[str]) -> Fraction:
    return Fraction(_plain(match).replace(",", ""))


@dataclass(frozen=True)
class Written:
    """A response that contains a result: the token ids of its prompt, and its text and tokens.

    `end` is the token that ends the response; None if it was cut, or if the model has no such token.
    """

    prompt: Sequence[int]
    text: str
    tokens: Sequence[int]
    end: int | None


def number_rows(written: Written, stated: StatedResult, encode: Encode, decode: Decode) -> NumberRows | None:
    """The rows for a result in a response; None if its tokens are not those of its text, so that other results cannot
    be encoded in the same way.

    Args:
        written: The response.
        stated: The result.
        encode: Text to token ids, without special tokens.
        decode: Token ids to text.
    """
    right = value(stated.tree)
    before = tokens_before(decode, written.tokens, written.text, stated.start)
    if before is None or right is None or right.denominator != 1:
        return None
    # The token in which the number begins may contain a space before it.
    lead = written.text[len(decode(written.tokens[:before])) : stated.start]
    given = written.text[stated.start : stated.end]
    own = written.tokens[before:]
    after = encoding_that_writes(encode, lead + given, own)
    if after is None:
        return None
    style = "," if "," in given else ""
    context = [*written.prompt, *written.tokens[:before]]
    size = len(after(lead + given))
    end = own[size] if size < len(own) else written.end
    return _rows(context, lambda text: after(lead + text), stated.tree, style, end)


def _rows(context: list[int], encode: Encode, tree: Node, style: str, end: int | None) -> NumberRows | None:
    right = int(value(tree) or 0)
    text = f"{right:{style}}"
    ids = list(encode(text))
    if not ids:
        return None
    rows, texts, kinds = [(context, ids)], [text], list[ErrorKind]()
    if end is not None:
        wrong = [(f"{int(number):{style}}", kind) for number, kind in near_misses(tree).items()]
        encoded = [(written, kind, [*tokens, end]) for written, kind in wrong if (tokens := encode(written))]
        rows += [(context, [*ids, end])] if encoded else []
        texts += [text] if encoded else []
        rows += [(context, tokens) for _, _, tokens in encoded]
        texts += [written for written, _, _ in encoded]
        kinds += [kind for _, kind, _ in encoded]
    digits = _digit_rows(encode, text, ids)
    rows += [(context, digit) for digit in digits]
    return NumberRows(tuple(rows), (*texts, *_DIGITS[: len(digits)]), tuple(kinds), bool(digits))


def _digit_rows(encode: Encode, text: str, ids: Sequence[int]) -> list[list[int]]:
    """The ten digits in the place of a number's first one; empty if the number does not begin with the tokens of one
    digit.
    """
    sign, first = ("-", text[1]) if text.startswith("-") else ("", text[0])
    rows = [list(encode(sign + digit)) for digit in _DIGITS]
    begins = rows[int(first)]
    same_length = len({len(row) for row in rows}) == 1
    return rows if same_length and begins and list(ids[: len(begins)]) == begins else []
