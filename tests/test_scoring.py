"""What an answer is worth: right ones in every shape, wrong ones made from right ones."""

import pytest

from layerlimits.scoring import choices, expressions, numbers, summaries, words
from layerlimits.types import FinishReason, Response, Sample


def said(text: str, finish: FinishReason = "stop") -> Response:
    return Response(text, tuple(range(len(text))), finish)


@pytest.mark.parametrize(
    ("text", "outcome", "answer"),
    [
        ("3 + 4 = 7\n#### 7", "correct", "7"),
        ("3 + 4 = 7\n####7", "correct", "7"),
        ("first #### 9 then #### 7", "correct", "7"),
        ("so it is 7", "correct", "7"),
        ("#### 7.0", "correct", "7.0"),
        ("#### 8", "wrong", "8"),
        ("#### -7", "wrong", "-7"),
        ("#### 77", "wrong", "77"),
        ("3 + 4 = 7\n#### 6", "wrong", "6"),
        ("no idea", "no_answer", ""),
        ("", "no_answer", ""),
    ],
)
def test_numbers_after_the_marker(text: str, outcome: str, answer: str) -> None:
    verdict = numbers.judge(said(text), "7", marker=True)
    assert (verdict.outcome, verdict.answer) == (outcome, answer)
    assert verdict.value == float(outcome == "correct")


def test_a_number_without_the_marker_says_that_the_format_was_lost() -> None:
    assert numbers.judge(said("it is 7"), "7", marker=True).why == "no ####"


def test_a_cut_answer_is_truncated_unless_the_marker_was_reached() -> None:
    assert numbers.judge(said("3 + 4 = 7", "length"), "7", marker=True).outcome == "truncated"
    assert numbers.judge(said("#### 7 and on", "length"), "7", marker=True).outcome == "correct"


@pytest.mark.parametrize(("text", "number"), [("9 - 2", "2"), ("-12", "-12"), ("1,234 in all", "1234"), ("none", None)])
def test_the_last_number(text: str, number: str | None) -> None:
    assert numbers.last_number(text) == number


TARGET = "def f(x): return (x + 3) * 2"


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (TARGET, "correct"),
        ("def f(x): return 2 * x + 6", "correct"),
        ("def f(x):\n    return (x + 3) * 2", "correct"),
        ("Sure: def f(x): return (x + 3) * 2", "correct"),
        ("def f(x): return (x + 3) * 3", "wrong"),
        ("def f(x): return x + 3 * 2", "wrong"),
        ("def f(x): return abs((x + 3) * 2)", "wrong"),
        ("def f(x): return (x + 3 * 2", "error"),
        ("def f(x): return __import__('os').system('true')", "error"),
        ("def f(x): return x.__class__", "error"),
        ("def f(x): return x ** 999999999", "error"),
        ("def f(x): return y", "error"),
        ("def f(x): return x // 0", "error"),
        ("def f(x): return 'a' * 9", "error"),
        ("def f(x): return True", "error"),
        ("def f(x): return min(x)", "error"),
        ("def f(x): return (lambda: x)()", "error"),
        ("f(x) = 2x + 6", "no_answer"),
        ("", "no_answer"),
    ],
)
def test_functions_are_judged_by_what_they_compute_and_never_run(text: str, outcome: str) -> None:
    verdict = expressions.judge(said(text), TARGET, (-5, 0, 3, 11))
    assert verdict.outcome == outcome
    assert verdict.value == float(outcome == "correct")


def test_a_huge_function_ends_in_an_error_not_in_a_crash() -> None:
    deep = "def f(x): return " + "(" * 900 + "x" + ")" * 900
    assert expressions.judge(said(deep), TARGET, (1,)).outcome == "error"
    nested = "def f(x): return " + "-" * 1900 + "x"
    assert expressions.judge(said(nested), TARGET, (1,)).outcome == "error"
    grown = "def f(x): return " + "*".join(["99999"] * 300)
    assert expressions.judge(said(grown), TARGET, (1,)).outcome == "error"


def test_a_cut_function_is_truncated() -> None:
    assert expressions.judge(said("def f(x): return (x +", "length"), TARGET, (1,)).outcome == "truncated"


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("red", "correct"),
        ("Red.", "correct"),
        ("It is red.", "correct"),
        ("infrared", "wrong"),
        ("red or blue", "wrong"),
    ],
)
def test_words(text: str, outcome: str) -> None:
    assert words.judge_words(said(text), "red").outcome == outcome


@pytest.mark.parametrize(
    ("text", "outcome"), [(")]", "correct"), (" ) ]\n", "correct"), (")", "wrong"), ("", "no_answer")]
)
def test_exact_answers_ignore_white_space_only(text: str, outcome: str) -> None:
    assert words.judge_exact(said(text), ")]").outcome == outcome


def test_choice_is_the_likeliest_and_ties_go_to_the_first() -> None:
    sample = Sample("?", "b", "evaluate", ("a", "b", "c"))
    assert choices.judge(sample, Response("", (), "likelihood", (-3.0, -1.0, -2.0))).outcome == "correct"
    assert choices.judge(sample, Response("", (), "likelihood", (-1.0, -1.0, -2.0))).answer == "a"


def test_summaries_by_rouge_l() -> None:
    assert summaries.judge(said("a storm hit the town"), "a storm hit the town").value == pytest.approx(1.0)
    half = summaries.judge(said("a storm"), "a storm hit the town")
    # F1 of precision 1 and recall 2/5.
    assert half.value == pytest.approx(2 * 0.4 / 1.4)
    assert summaries.judge(said("unrelated words"), "a storm hit the town").outcome == "wrong"
    assert summaries.judge(said(" "), "a storm hit the town").outcome == "no_answer"
