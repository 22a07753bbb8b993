"""What an answer is worth: right ones in every shape, wrong ones made from right ones."""

import pytest

from layerlimits.diagnostics import Answered
from layerlimits.diagnostics.arithmetic import arithmetic, true_steps
from layerlimits.diagnostics.brackets import balanced, brackets
from layerlimits.diagnostics.degeneration import degeneration, repetition
from layerlimits.scoring import choices, expressions, numbers, summaries, words
from layerlimits.types import FinishReason, Response, Sample, Verdict


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


def test_repetition_is_one_minus_the_share_of_distinct_ngrams() -> None:
    assert repetition("a b c d".split(), 2) == 0.0
    assert repetition("a b a b a".split(), 2) == pytest.approx(0.5)
    assert repetition(["a"], 2) is None


def _answered(prompt: str, target: str, text: str, value: float = 0.0) -> Answered:
    return Answered(prompt, target, said(text), Verdict("correct" if value else "wrong", value))


def test_degeneration_measures_what_is_defined() -> None:
    measures = degeneration.measure(_answered("?", "", "go go go go"))
    assert measures["rep-2"] == pytest.approx(2 / 3)
    assert measures["tokens"] == 11
    assert "rep-4" in measures
    assert "rep-2" not in degeneration.measure(_answered("?", "", "go"))


def test_bracket_diagnostics() -> None:
    assert balanced("([{}])()")
    assert not balanced("([)]")
    assert not balanced("(")
    measures = brackets.measure(_answered("Close the brackets: ([", "])", "]]"))
    assert measures == {"balanced": 0.0, "closed before the first error": 0.5, "right length": 1.0}
    assert brackets.measure(_answered("Write f(x)", "", "def f(x): return (x"))["balanced"] == 0.0


def test_arithmetic_diagnostics() -> None:
    assert true_steps("3 + 4 = 7\n7 * 2 = 15") == 0.5
    assert true_steps("3 / 0 = 0") == 0.0
    assert true_steps("none") is None
    measures = arithmetic.measure(_answered("What is 3 + 9?", "12", "14"))
    assert measures == {"exact match": 0.0, "first character": 1.0, "is a number": 1.0}
