"""Numbers in tokens: grouping of digits, near misses, and the rows of a result under different tokenizers."""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction

import pytest

from layerlimits.analysis.digits import encoding_that_writes, grouping, tokens_before
from layerlimits.analysis.near_misses import near_misses
from layerlimits.analysis.number_rows import (
    NumberRows,
    Written,
    number_rows,
    stated_answer,
    stated_results,
)
from layerlimits.analysis.operations import error_kind, parsed
from layerlimits.reference.tokenizer import build

_END = 1
_PROMPT = [7, 8, 9]


class Pieces:
    """A tokenizer whose tokens are the matches of a pattern, numbered as they are first seen."""

    def __init__(self, pattern: str, mark: str = "") -> None:
        self._pattern, self._mark = re.compile(pattern), mark
        self._ids: dict[str, int] = {}

    def encode(self, text: str) -> list[int]:
        """The numbers of the pieces of a text, after a mark before the first word if the tokenizer has one."""
        pieces = ([self._mark] if self._mark and text else []) + self._pattern.findall(text)
        return [self._ids.setdefault(piece, 100 + len(self._ids)) for piece in pieces]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of pieces."""
        texts = {number: piece for piece, number in self._ids.items()}
        return "".join(texts[token] for token in tokens if texts[token] != self._mark)


_OTHERS = r"|-| ?[^\d\s-]+|\s"
DIGITS = rf"\d{_OTHERS}"
FROM_LEFT = rf"\d{{1,3}}{_OTHERS}"
FROM_RIGHT = rf"\d{{1,3}}(?=(?:\d{{3}})*(?!\d)){_OTHERS}"
WHOLE = rf" ?\d+{_OTHERS}"
PAIRS = rf"\d\d?{_OTHERS}"


@pytest.mark.parametrize(
    ("pattern", "mark", "expected"),
    [
        (DIGITS, "", "one digit"),
        (DIGITS, "_", "one digit"),
        (FROM_LEFT, "", "up to three digits"),
        (FROM_RIGHT, "", "up to three digits"),
        (FROM_LEFT, "_", "up to three digits"),
        (WHOLE, "", "learned pieces"),
        (PAIRS, "", "learned pieces"),
    ],
)
def test_grouping_of_digits(pattern: str, mark: str, expected: str) -> None:
    pieces = Pieces(pattern, mark)
    assert grouping(pieces.encode, pieces.decode) == expected


def test_the_reference_tokenizer_splits_digits() -> None:
    tokenizer = build()

    def encode(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    assert grouping(encode, tokenizer.decode) == "one digit"


@pytest.mark.parametrize(("position", "expected"), [(0, 0), (1, 1), (2, 1), (3, 2), (4, 3), (5, 4), (6, 5), (99, 5)])
def test_tokens_before_a_character(position: int, expected: int) -> None:
    pieces = Pieces(DIGITS)
    text = "a =42."
    assert tokens_before(pieces.decode, pieces.encode(text), text, position) == expected


def test_tokens_that_do_not_write_the_text_have_no_place() -> None:
    pieces = Pieces(DIGITS)
    assert tokens_before(pieces.decode, pieces.encode("x = 42"), "y = 42", 4) is None


def test_an_encoding_is_chosen_that_gives_the_tokens_of_the_model() -> None:
    marked = Pieces(DIGITS, "_")
    own = marked.encode("=42")[2:]
    after = encoding_that_writes(marked.encode, "42", own)
    assert after is not None
    # Without the mark that the tokenizer puts before a first word.
    assert after("42") == own
    assert encoding_that_writes(marked.encode, "42", own[::-1]) is None
    assert encoding_that_writes(marked.encode, "42", ()) is None


@pytest.mark.parametrize(
    ("expression", "wrong", "kind"),
    [
        ("17 + 25", 43, "off by one"),
        ("17 + 25", 41, "off by one"),
        ("17 + 25", 420, "off by a power of ten"),
        ("17 + 25", 24, "digits swapped"),
        ("17 + 25", -42, "wrong sign"),
        ("17 + 25", 17, "copied operand"),
        ("17 + 25", 25, "copied operand"),
        ("17 + 25", -8, "wrong operator"),
        ("17 + 25", 425, "wrong operator"),
        ("25 - 17", 42, "wrong operator"),
        ("30 * 4", 12, "off by a power of ten"),
        ("30 * 4", 34, "wrong operator"),
        ("30 * 4", 26, "wrong operator"),
        ("60 / 4", 51, "digits swapped"),
        ("60 / 4", 240, "wrong operator"),
        ("2 + 3 * 4", 24, "wrong operator"),
        ("100 - 1", 9900, "other"),
    ],
)
def test_near_misses_have_the_kind_of_their_error(expression: str, wrong: int, kind: str) -> None:
    tree = parsed(expression)
    assert tree is not None
    found = near_misses(tree)
    if kind == "other":
        assert Fraction(wrong) not in found
    else:
        assert found[Fraction(wrong)] == kind


@pytest.mark.parametrize(
    "expression", ["17 + 25", "1 - 1", "9 * 9 - 2", "5 - 90", "1000000 * 3", "8 / 2", "0 * 5", "7"]
)
def test_near_misses_are_wrong_whole_numbers_of_each_kind_at_most_three(expression: str) -> None:
    tree = parsed(expression)
    assert tree is not None
    found = near_misses(tree)
    kinds = list(found.values())
    assert all(wrong.denominator == 1 and error_kind(tree, wrong) == kind for wrong, kind in found.items())
    assert found
    assert max(kinds.count(kind) for kind in kinds) <= 3


@pytest.mark.parametrize("expression", ["1 / 3", "1 / 0", "0.5 + 0.25"])
def test_a_result_that_is_no_whole_number_has_no_near_misses(expression: str) -> None:
    tree = parsed(expression)
    assert tree is not None
    assert near_misses(tree) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("17 + 25 = 42", ["42"]),
        ("17 + 25 = 42.", ["42"]),
        ("17 + 25 = 42, and 3 * 4 = 12", ["42", "12"]),
        ("600 * 2 = $1,200 in all", ["1,200"]),
        ("3 - 8 = -5", ["-5"]),
        ("<<16-3-4=9>>9", ["9"]),
        # Wrong, not whole, or without an operation.
        ("17 + 25 = 43", []),
        ("1 / 4 = 0.25", []),
        ("10 / 4 = 2.5 and 2.5 * 2 = 5", ["5"]),
        ("x = 42", []),
        ("", []),
        ("\u6211\u6709 3 + 4 = 7 \u4e2a", ["7"]),
    ],
)
def test_results_in_a_solution(text: str, expected: list[str]) -> None:
    assert [text[stated.start : stated.end] for stated in stated_results(text)] == expected


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("42", 42, (0, 2)),
        ("The sum of 17 and 25 is 42.", 42, (24, 26)),
        ("42 = 42", 42, (5, 7)),
        ("-5", -5, (0, 2)),
        ("1,200 in all", 1200, (0, 5)),
        ("It is 4.2", 42, None),
        ("forty-two", 42, None),
        ("", 42, None),
    ],
)
def test_the_place_of_an_answer(text: str, answer: int, expected: tuple[int, int] | None) -> None:
    tree = parsed("17 + 25")
    assert tree is not None
    stated = stated_answer(text, tree, Fraction(answer))
    assert (stated and (stated.start, stated.end)) == expected


def _rows(pieces: Pieces, text: str, end: int | None = _END) -> NumberRows | None:
    (stated,) = stated_results(text)
    return number_rows(Written(_PROMPT, text, pieces.encode(text), end), stated, pieces.encode, pieces.decode)


def _texts(rows: NumberRows, decode: Callable[[Sequence[int]], str]) -> list[str]:
    return [decode([token for token in row if token != _END]) for _, row in rows.rows]


@pytest.mark.parametrize("pattern", [DIGITS, FROM_LEFT, FROM_RIGHT, WHOLE, PAIRS])
@pytest.mark.parametrize("mark", ["", "_"])
def test_rows_continue_the_tokens_that_the_model_has_written(pattern: str, mark: str) -> None:
    pieces = Pieces(pattern, mark)
    text = "so 1234 + 4321 = 5555"
    rows = _rows(pieces, text)
    assert rows is not None
    context, right = rows.rows[0]
    assert context + right == [*_PROMPT, *pieces.encode(text)]
    assert all(other == context for other, _ in rows.rows)
    # The end of the right result and of the near misses is the same.
    ended = [row for _, row in rows.rows[1 : 2 + len(rows.kinds)]]
    assert ended[0] == [*right, _END]
    assert all(row[-1] == _END for row in ended)
    assert [written.strip() for written in _texts(rows, pieces.decode)] == list(rows.texts)
    assert {"5556", "5554", "55550", "-3087", "1234", "4321"} <= set(rows.texts)


@pytest.mark.parametrize(("pattern", "expected"), [(DIGITS, True), (FROM_LEFT, False), (WHOLE, False), (PAIRS, False)])
def test_first_digits_are_asked_only_if_the_result_begins_with_the_token_of_one(pattern: str, expected: bool) -> None:
    rows = _rows(Pieces(pattern), "12 + 30 = 42")
    assert rows is not None
    assert rows.has_digits is expected
    assert (rows.texts[-10:] == tuple("0123456789")) is expected


def test_a_result_of_one_digit_begins_with_it_under_every_tokenizer() -> None:
    for pattern in (DIGITS, FROM_LEFT, PAIRS):
        rows = _rows(Pieces(pattern), "3 + 4 = 7")
        assert rows is not None
        assert rows.has_digits


def test_digits_of_a_negative_result_follow_its_sign() -> None:
    pieces = Pieces(DIGITS)
    rows = _rows(pieces, "3 - 45 = -42")
    assert rows is not None
    assert rows.has_digits
    assert [text.strip() for text in _texts(rows, pieces.decode)[-10:]] == [f"-{digit}" for digit in range(10)]


def test_what_follows_a_number_ends_it() -> None:
    pieces = Pieces(DIGITS)
    rows = _rows(pieces, "3 + 4 = 7; done")
    assert rows is not None
    assert pieces.decode([rows.rows[1][1][-1]]) == ";"


def test_without_an_end_there_are_no_near_misses_to_compare_with() -> None:
    rows = _rows(Pieces(DIGITS), "3 + 4 = 7", end=None)
    assert rows is not None
    assert rows.kinds == ()
    assert len(rows.rows) == 1 + 10


def test_a_thousands_separator_is_kept() -> None:
    rows = _rows(Pieces(DIGITS), "600 * 2 = 1,200")
    assert rows is not None
    assert rows.texts[0] == "1,200"
    assert "12,000" in rows.texts


def test_a_number_that_shares_a_token_with_what_follows_has_no_rows() -> None:
    pieces = Pieces(r"\d+\.|\d| ?[^\d\s]+|\s")
    assert _rows(pieces, "3 + 4 = 7.") is None
