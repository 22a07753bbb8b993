"""Arithmetic in questions and written solutions, on hand-made cases."""

import time
from fractions import Fraction

import pytest

from layerlimits.analysis.operations import (
    carries,
    depth,
    digits,
    error_kind,
    first_wrong,
    holds,
    operations,
    parsed,
    question_tree,
    value,
)

# Arithmetic


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is (3 * 4) - 5?", 7),
        ("What is 3 * (4 - 5)?", -3),
        ("What is 98 plus 45?", 143),
        ("What is 98 minus 45?", 53),
        ("What is 98 times 45?", 4410),
        ("What is 1,200 + 34?", 1234),
        ("What is 3 \u00d7 4?", 12),
        ("What is (9 - 3) * (2 + 1)?", 18),
        ("How many apples?", None),
        ("", None),
        ("Tom is 5.", None),
    ],
)
def test_question_tree(question: str, expected: int | None) -> None:
    tree = question_tree(question)
    assert (value(tree) if tree is not None else None) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16 - 3 - 4 = 9", [True]),
        ("<<16-3-4=9>>9", [True]),
        ("2 * 3 = 6 and 6 + 1 = 8", [True, False]),
        ("$2 * 3 = $6", [True]),
        ("10 / 4 = 2.5", [True]),
        ("10 / 3 = 3.33", [True]),
        ("10 / 3 = 3.3", [True]),
        ("10 / 3 = 3.4", [False]),
        ("1,000 + 500 = 1,500", [True]),
        ("5 / 0 = 3", [None]),
        ("(2 + 3) * 4 = 20", [True]),
        ("2 + 3 * 4 = 20", [False]),
        ("3 \u00d7 4 = 12", [True]),
        ("x = 5", []),
        ("no numbers", []),
        ("4 - 9 = -5", [True]),
        ("4 - 9 = 5", [False]),
    ],
)
def test_operations_hold(text: str, expected: list[bool | None]) -> None:
    assert [holds(operation) for operation in operations(text)] == expected


@pytest.mark.parametrize("wrong", range(5))
def test_the_first_planted_wrong_step_is_found(wrong: int) -> None:
    parts = [f"Step {n}: {n} + {n + 1} = {2 * n + 1 + (n >= wrong)}." for n in range(5)]
    found = first_wrong("\n".join(parts))
    assert found is not None
    assert found[0] == wrong
    assert first_wrong("\n".join(parts[:wrong])) is None


@pytest.mark.parametrize(
    ("expression", "given", "kind"),
    [
        ("3 + 4", 7, None),
        ("3 + 4", None, "not a number"),
        ("3 + 4", 70, "off by a power of ten"),
        ("30 * 40", 12, "off by a power of ten"),
        ("9 * 9", 18, "digits swapped"),
        ("4 - 9", 5, "wrong sign"),
        ("12 + 5", 12, "copied operand"),
        ("7 * 6", 13, "wrong operator"),
        ("(8 + 3) * 2", 9, "wrong operator"),
        ("2 * (3 + 4)", 10, "precedence ignored"),
        ("2 + 3 * 4", 20, "precedence ignored"),
        ("33 + 44", 78, "off by one"),
        ("33 + 44", 52, "other"),
        ("5 / 0", 3, "other"),
    ],
)
def test_error_kind(expression: str, given: int | None, kind: str | None) -> None:
    tree = parsed(expression)
    assert tree is not None
    assert error_kind(tree, None if given is None else Fraction(given)) == kind


@pytest.mark.parametrize(
    ("expression", "count"),
    [("1 + 2", 0), ("5 + 5", 1), ("99 + 1", 2), ("55 + 55", 2), ("52 - 7", 1), ("50 - 20", 0), ("3 * 4", None)],
)
def test_carries(expression: str, count: int | None) -> None:
    tree = parsed(expression)
    assert tree is not None
    assert carries(tree) == count


def test_features_of_an_expression() -> None:
    tree = parsed("(12 + 345) * 6")
    assert tree is not None
    assert (digits(tree), depth(tree)) == (3, 2)


@pytest.mark.parametrize("text", ["__import__('os')", "2 ** 9", "a + 1", "1 +", "9" * 500, "((((", "1 if 2 else 3"])
def test_only_arithmetic_is_parsed(text: str) -> None:
    assert parsed(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\[ 80 \text{ miles} + 150 \text{ miles} = 230 \text{ miles} \]", [True]),
        (r"\(2500 \times 50 = 1250000\) dollars", [False]),
        (r"= 180 \times (1 - 0.30) = 180 \times 0.70 = 126", [True, True]),
        (r"\left( \frac{12}{20} \right) \times 100 = 60\%", [True]),
        (r"\frac{15}{4} + 5 = 37.5", [False]),
        (r"\frac{12 \text{ miles}}{4 \text{ hours}} = 3 \text{ mph}", [True]),
        (r"60 \, \text{mph} \times 2 \, \text{hours} = 120 \, \text{miles}", [True]),
        (r"\$1{,}000 \cdot 3 = \$3{,}000", [True]),
        ("- $5,000 * 0.025 = $125", [True]),
        ("- 5 + 3 = 8", [True]),
        ("3. 15 + 25 = 40", [True]),
        ("**7 + 5 = 13**", [False]),
        ("3 x $68 = $204 and 2x80 = 161", [True, False]),
        ("20% of 50 = 10", [True]),
        ("$60% of $5 = $30", [False]),
        ("40% * 200 = 8000", [False]),
        ("5% + 10% = 15%", [True]),
        ("12 / 20 * 100 = 60%", [True]),
        ("15 cups + 25 cups = 40 cups", [True]),
        ("$20/hour * 35 hours = $700", [True]),
        ("200 GB / 2 GB/minute = 100 minutes", [True]),
        ("60 miles per hour * 2 hours = 130 miles", [False]),
        ("2 + 3 = 5 * 1 = 5", [True, True]),
        # Nothing that has an unknown in it.
        ("x + 2 + 3 = 10", []),
        ("2x + 3 + 4 = 10", []),
        ("2 + 3 = 5x", []),
        ("2 + 3 = 4 - x", []),
        (r"\frac{5x}{6} + 1 = 7", []),
        (r"\text{Price} \times 3 + 2 = 20", []),
        ("2^3 + 2 = 10", []),
        ("a = 3, b = 4", []),
        (r"\[ 3 \times 100 \]" + "\n\n" + r"\[ \text{Share} = 5 \]", []),
    ],
)
def test_operations_in_written_solutions(text: str, expected: list[bool]) -> None:
    assert [holds(operation) for operation in operations(text)] == expected


def test_places_of_operations_are_those_of_the_text() -> None:
    text = r"First \(3 \times 4 = 12\). Then \frac{12}{4} \text{ cups} + 1 = 5\%."
    first, second = operations(text)
    assert text[first.start : first.end].strip() == r"\(3 \times 4 = 12"
    assert text[second.start : second.end].endswith("+ 1 = 5")


@pytest.mark.parametrize(
    "piece", [r"\text{a", r"\frac{1}{", "1 a ", "1/a", "1% of ", "(1)**", "\n- 1 x", "1 = 1 + ", "1,"]
)
def test_reading_solutions_takes_linear_time(piece: str) -> None:
    began = time.process_time()
    list(operations(piece * (100_000 // len(piece))))
    assert time.process_time() - began < 3
