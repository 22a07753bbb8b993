"""Answers out of messy texts: each case of the corpus, wrong answers made from right ones, and texts made to hang."""

import threading
import time

import pytest
from answer_case import Case
from answer_corpus import CASES

from layerlimits.plugins import find
from layerlimits.scoring import equality, latex, mathematics, quantities, units
from layerlimits.scoring.numerals import ascii_signs, number, numbers, without_latex
from layerlimits.types import Response, Sample, Verdict


def judged(case: Case) -> Verdict:
    target = f"#### {case.gold}" if case.task == "gsm8k" else case.gold
    sample = Sample(case.question, target, "evaluate", meta={"question": case.question})
    verdict = find("tasks", case.task).score(sample, Response(case.response, (1, 2), case.finish))
    assert isinstance(verdict, Verdict)
    return verdict


def test_the_corpus_is_large_and_has_no_case_twice() -> None:
    assert len(CASES) >= 180
    assert len({case[:3] + case[6:] for case in CASES}) == len(CASES)
    assert all(case.why for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.task}: {case.why}, {case.gold}")
def test_every_case_of_the_corpus_gets_its_verdict(case: Case) -> None:
    verdict = judged(case)
    assert (verdict.outcome, verdict.strict) == (case.outcome, case.strict), verdict
    assert verdict.value == float(case.outcome == "correct")
    assert bool(verdict.answer) == (case.outcome in ("correct", "wrong"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("9 - 2 = 7", ["9", "2", "7"]),
        ("from 5-10 to 10–12", ["5", "10", "10", "12"]),
        ("x1, Q4, H2O, cm^2 and a_{3}", []),
        ("1,234.50 and 1.234,5 and 0,125", ["1234.5", "1234.5", "0.125"]),
        ("1.5e3 1.5 × 10^{-2} 2×10³", ["1500", "0.015", "2000"]),
        ("½, 1½, 3/4, \\frac{1}{3} and -\\frac12", ["0.5", "1.5", "0.75", "1/3", "-0.5"]),
        ("٤٢ ४२ ４２ 𝟒𝟐", ["42", "42", "42", "42"]),
        ("1e999999999 and 1/0", []),
    ],
)
def test_numbers_in_a_text(text: str, values: list[str]) -> None:
    assert [value.text for value in numbers(without_latex(ascii_signs(text)))] == values


def test_a_number_is_none_where_there_are_several() -> None:
    assert number("7 or 8") is None
    assert number("none") is None
    price = number("-$7.50")
    assert price is not None
    assert (price.text, price.unit) == ("-7.5", "$")


def test_units_of_one_kind_differ_and_others_do_not() -> None:
    assert units.differ("minutes", "hours")
    assert units.differ("cents", "$")
    assert not units.differ("hour", "hrs")
    assert not units.differ("apples", "hours")
    assert units.asked("He walks 3 miles. How many hours does he walk?") == "hours"
    assert units.asked("How many hours and how many minutes?") == ""


def _wrong(gold: str) -> set[str]:
    """Numbers that are not the gold one but look like it."""
    value = int(gold)
    made = {str(value + 1), str(value - 1), str(value * 10), f"{value}.5", f"0.{abs(value)}", str(value + 100)}
    made |= {str(-value), gold[:-1], gold[0] + gold[::-1][:-1], gold[:-2] + gold[-1:] + gold[-2:-1], f"{value}/7"}
    return {text for text in made if text.strip("-") and (number(text) is None or number(text).value != value)}  # type: ignore[union-attr]  # not None here


@pytest.mark.parametrize("gold", [*map(str, range(-12, 130)), "1000", "65960", "1450000", "-38097", "100001"])
@pytest.mark.parametrize("form", ["#### {}", "The answer is {}.", "\\boxed{{{}}}", "so it is {}"])
def test_numbers_made_from_the_right_one_are_wrong(gold: str, form: str) -> None:
    assert quantities.judge(Response(form.format(gold), (), "stop"), gold).value == 1.0
    made = _wrong(gold)
    assert len(made) > 3
    for wrong in made:
        assert quantities.judge(Response(form.format(wrong), (), "stop"), gold).value == 0.0, wrong


HOSTILE = [
    "\\boxed{" * 20_000,
    "\\boxed{1}, " * 10_000,
    "1" * 100_000,
    "1," * 50_000,
    " " * 100_000,
    "answer " * 20_000,
    "the answer is 5 " * 8_000,
    "**" * 40_000,
    "$" * 100_000,
    "1\nQ:\n" * 20_000,
    "\\frac{1}" * 10_000,
    "<think>" * 20_000,
    "\\[" * 50_000,
    "(" * 100_000,
    "so it is not " * 10_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_no_text_takes_long(text: str) -> None:
    began = time.perf_counter()
    for finish in ("stop", "length"):
        quantities.judge(Response(text, (), finish), "18")
        mathematics.judge(Response(text, (), finish), "\\frac{3}{4}")
    # Under half a second on an idle machine; quadratic patterns took minutes.
    assert time.perf_counter() - began < 10


def test_algebra_that_does_not_end_is_an_error_and_the_next_comparison_works(monkeypatch: pytest.MonkeyPatch) -> None:
    equality._stop()
    equality.equal.cache_clear()
    # Less than the import of math-verify takes: no comparison comes back in time, as with endless algebra.
    monkeypatch.setattr(equality, "_WHOLE_S", 0.01)
    verdict = mathematics.judge(Response("\\boxed{x^2 - 1}", (), "stop"), "(x-1)(x+1)")
    assert (verdict.outcome, verdict.value) == ("error", 0.0)
    assert verdict.why == "the comparison took too long"
    equality._stop()
    monkeypatch.undo()
    equality.equal.cache_clear()
    assert latex.same("(x-1)(x+1)", "x^2 - 1")


def test_comparisons_work_in_threads_and_after_their_process_died() -> None:
    equality.equal.cache_clear()
    results: list[bool | None] = []
    asked = [(f"{k}x + {k}", f"{k}(x + 1)") for k in range(2, 8)]
    threads = [threading.Thread(target=lambda pair=pair: results.append(equality.equal(*pair))) for pair in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 6
    for child in equality._running.values():
        child.kill()
        child.wait()
    assert equality.equal("x + y", "y + x") is True
