"""Findings of probes on made-up answers with known outcomes."""

import math
from collections.abc import Sequence

import pytest
from fake_run import FakeRun, answer
from probe_answers import (
    ALONE,
    CUT,
    GSM8K,
    chain_answer,
    one_of,
    probed_run,
    result,
    result_answer,
    rows,
)

from layerlimits.diagnostics import Answer, Finding, _chains_probe, _results_probe


def _results(run: FakeRun) -> list[Finding]:
    return list(_results_probe.findings(run, [run.base, *run.models]))


def _chains(run: FakeRun) -> list[Finding]:
    return list(_chains_probe.findings(run, [run.base, *run.models]))


# Results


def _asked(*right: float, misses: Sequence[float] = (-5.0,), **about: object) -> list[Answer]:
    kinds = ["off by one", "copied operand", "wrong operator"][: len(misses)]
    return [
        result_answer(f"i{number}", [result(kinds=kinds, has_digits=False, **about)], rows(value, misses))
        for number, value in enumerate(right)
    ]


@pytest.mark.parametrize(
    ("base", "other", "expected"),
    [
        ((-1.0, -1.0), (-3.0, -2.0), -1.5),
        ((-1.0, -1.0), (-1.0, -1.0), 0.0),
        ((-2.0, -4.0), (-1.0, -3.0), 1.0),
        ((-0.5,), (-20.5,), -20.0),
    ],
)
def test_change_in_log_probability(base: Sequence[float], other: Sequence[float], expected: float) -> None:
    finding = one_of(_results(probed_run("results_probe", _asked(*base), _asked(*other))), _results_probe.CHANGE)
    assert finding.estimate == pytest.approx(expected)
    assert finding.n == len(base)
    assert list(finding.items) == [
        f"i{number}" for number, (one, two) in enumerate(zip(base, other, strict=True)) if two < one
    ]


def test_the_change_is_of_items_that_both_have_answered() -> None:
    found = _results(probed_run("results_probe", _asked(-1.0, -1.0, -1.0), _asked(-2.0)))
    assert one_of(found, _results_probe.CHANGE).n == 1


@pytest.mark.parametrize(
    ("misses", "rank", "kind"),
    [
        ((-5.0, -6.0), 1, None),
        ((-0.5, -6.0), 2, "off by one"),
        ((-0.5, -0.4), 3, "copied operand"),
        ((-9.0, -0.4), 2, "copied operand"),
        ((-0.4, -0.5, -0.6), 4, "off by one"),
    ],
)
def test_rank_among_near_misses_and_the_likeliestone_of(misses: Sequence[float], rank: int, kind: str | None) -> None:
    asked = _asked(-1.0, misses=misses)
    found = _results(probed_run("results_probe", asked, asked))
    finding = one_of(found, _results_probe.RANK)
    assert finding.estimate == rank
    assert finding.low is not None
    assert finding.low >= 1
    assert list(finding.items) == ([] if kind is None else ["i0"])
    preferred = [row.measure for row in found if row.model == CUT.label and row.measure.startswith("prefers")]
    assert preferred == ([] if kind is None else [f"prefers: {kind}"])


def test_a_result_without_near_misses_has_no_rank() -> None:
    asked = _asked(-1.0, misses=())
    found = _results(probed_run("results_probe", asked, asked))
    assert not [row for row in found if row.measure == _results_probe.RANK]
    assert one_of(found, _results_probe.CHANGE).estimate == 0


def _digits(right: str, digits: dict[int, float], *, has_digits: bool = True) -> list[Answer]:
    return [
        result_answer("a", [result(right, (), has_digits=has_digits)], rows(-1.0, (), digits if has_digits else None))
    ]


@pytest.mark.parametrize(
    ("right", "digits", "expected"),
    [
        ("42", {4: -0.1, 5: -2.0}, 1.0),
        ("42", {4: -2.0, 5: -0.1}, 0.0),
        ("42", {0: -0.1, 4: -0.2}, 0.0),
        ("-7", {7: -0.1, 1: -0.2}, 1.0),
        ("0", {0: -0.1}, 1.0),
        ("9", {9: -0.1}, 1.0),
        ("1,200", {1: -0.3, 2: -0.4}, 1.0),
    ],
)
def test_first_digit(right: str, digits: dict[int, float], expected: float) -> None:
    found = _results(
        probed_run("results_probe", _digits(right, {int(right.lstrip("-")[0]): -0.1}), _digits(right, digits))
    )
    assert one_of(found, _results_probe.FIRST_DIGIT).estimate == expected
    assert one_of(found, _results_probe.FIRST_DIGIT, "base").estimate == 1


def test_without_tokens_of_digits_no_first_digit_is_claimed_and_the_share_is_said() -> None:
    asked = _digits("42", {}, has_digits=False)
    found = _results(probed_run("results_probe", asked, asked))
    assert not [row for row in found if row.measure == _results_probe.FIRST_DIGIT]
    assert found[0].estimate == 0
    assert found[0].n == 1


@pytest.mark.parametrize(
    ("grouping", "words"),
    [
        ("one digit", "one digit per token"),
        ("up to three digits", "up to three digits per token"),
        ("learned pieces", "pieces of several digits"),
    ],
)
def test_the_way_in_which_the_tokenizer_writes_numbers_is_said(grouping: str, words: str) -> None:
    asked = [result_answer("a", [result(has_digits=False)], rows(-1.0), grouping=grouping)]
    assert words in _results(probed_run("results_probe", asked, asked))[0].sentence


def test_the_results_of_a_response_are_told_apart() -> None:
    two = [result("42", has_digits=False, signs=["+"]), result("7", ["copied operand"], signs=["*"], digits=1)]
    before = result_answer("a", two, [*rows(-1.0), *rows(-1.0, (-9.0,), {7: -0.1})])
    after = result_answer("a", two, [*rows(-2.0), *rows(-5.0, (-0.2,), {7: -1.0, 8: -0.1})])
    found = _results(probed_run("results_probe", [before], [after]))
    assert one_of(found, _results_probe.CHANGE).estimate == -2.5
    assert one_of(found, f"{_results_probe.CHANGE}, operator +").estimate == -1
    assert one_of(found, f"{_results_probe.CHANGE}, operator *").estimate == -4
    assert one_of(found, f"{_results_probe.CHANGE} by digits", x=1).estimate == -4
    assert one_of(found, f"{_results_probe.CHANGE} by digits", x=2).estimate == -1
    assert one_of(found, _results_probe.FIRST_DIGIT).estimate == 0
    assert one_of(found, _results_probe.RANK).estimate == 1.5
    assert one_of(found, "prefers: copied operand").n == 1


def test_tasks_are_told_apart() -> None:
    def asked(value: float) -> list[Answer]:
        return [result_answer(name, [result()], rows(value, digits={4: -0.1}), name) for name in ("gsm8k", "sums")]

    found = _results(probed_run("results_probe", asked(-1.0), asked(-2.0)))
    assert {row.task for row in found if row.measure == _results_probe.CHANGE} == {"gsm8k", "sums"}


@pytest.mark.parametrize("value", [-math.inf, math.nan])
def test_values_that_are_not_finite_do_not_count(value: float) -> None:
    found = _results(probed_run("results_probe", _asked(-1.0, -1.0), _asked(-2.0, value)))
    assert one_of(found, _results_probe.CHANGE).n == 1


# Nothing to measure


def _without_content(answers: Sequence[Answer]) -> list[Answer]:
    return [Answer(each.item, each.response, each.verdict) for each in answers]


@pytest.mark.parametrize("findings", [_results, _chains])
def test_a_run_without_the_probe_says_so(findings: object) -> None:
    assert callable(findings)
    (finding,) = findings(FakeRun({}, [GSM8K], [CUT]))
    assert finding.estimate is None
    assert "`layerlimits study` asks after pruning" in finding.sentence


def test_an_imported_run_has_no_items() -> None:
    base, other = _without_content(_asked(-1.0)), _without_content(_asked(-2.0))
    (finding,) = _results(probed_run("results_probe", base, other))
    assert finding.sentence == "not measurable: the items of the probe are not stored"
    chains = _without_content([chain_answer("a", [-1.0] * 8)])
    (finding,) = _chains(probed_run("chains_probe", chains, chains))
    assert finding.sentence == "not measurable: the items of the probe are not stored"


def test_a_probe_without_items_says_so() -> None:
    (finding,) = _results(probed_run("results_probe", [], []))
    assert finding.sentence == ("not measurable: no answer of the unpruned model states a whole result of an operation")
    (finding,) = _chains(probed_run("chains_probe", [], []))
    assert finding.sentence.startswith("not measurable: the unpruned model has no right answer of 8 tokens")


def test_prompts_that_do_not_fit_do_not_count() -> None:
    refused = [answer("r-i0", finish="context", probe={"task": "gsm8k", "item": "i0", "grouping": "", "results": []})]
    found = _results(probed_run("results_probe", _asked(-1.0, -1.0), refused))
    assert not [row for row in found if row.model == CUT.label]


def test_a_single_model_has_first_digits_and_no_change() -> None:
    found = _results(probed_run("results_probe", _digits("42", {4: -0.1})))
    assert one_of(found, _results_probe.FIRST_DIGIT, "base").estimate == 1
    assert not [row for row in found if row.measure == _results_probe.CHANGE]
    (finding,) = _chains(probed_run("chains_probe", [chain_answer("a", [-1.0] * 8)]))
    assert finding.estimate is None


# Chains


def _losses(*losses: float) -> list[float]:
    return [-loss for loss in losses]


FLAT, LATE, EARLY = (2.0,) * 8, (1.0,) * 4 + (3.0,) * 4, (3.0,) * 4 + (1.0,) * 4


@pytest.mark.parametrize(
    ("losses", "excess", "growth", "words"),
    [
        (FLAT, 1.0, 0.0, "acts at each token"),
        (LATE, 1.0, 2.0, "grows along the answer"),
        (EARLY, 1.0, -2.0, "smaller once the answer has begun"),
        ((1.0,) * 8, 0.0, 0.0, "acts at each token"),
        ((1.0,) * 7 + (9.0,), 1.0, 2.0, "grows along the answer"),
        ((9.0,) + (1.0,) * 7, 1.0, -2.0, "smaller once the answer has begun"),
    ],
)
def test_excess_loss_and_its_growth(losses: Sequence[float], excess: float, growth: float, words: str) -> None:
    base = [chain_answer(f"i{number}", _losses(*[1.0] * 8)) for number in range(20)]
    other = [chain_answer(f"i{number}", _losses(*losses)) for number in range(20)]
    found = _chains(probed_run("chains_probe", base, other))
    assert one_of(found, _chains_probe.EXCESS).estimate == pytest.approx(excess)
    finding = one_of(found, _chains_probe.GROWTH)
    assert finding.estimate == pytest.approx(growth)
    assert words in finding.sentence
    assert len(finding.items) == (20 if growth > 0 else 0)
    for place, loss in enumerate(losses):
        assert one_of(found, _chains_probe.BY_POSITION, x=place + 1).estimate == pytest.approx(loss - 1)


def test_a_growth_that_n_does_not_show_is_not_claimed() -> None:
    base = [chain_answer(f"i{number}", _losses(*[1.0] * 8)) for number in range(4)]
    mixed = [chain_answer(f"i{number}", _losses(*(LATE if number % 2 else EARLY))) for number in range(4)]
    late = [chain_answer(f"i{number}", _losses(*LATE)) for number in range(4)]
    for other in (mixed, late):
        finding = one_of(_chains(probed_run("chains_probe", base, other)), _chains_probe.GROWTH)
        assert "acts at each token, without a change along the answer that n shows" in finding.sentence


def test_losses_are_per_token() -> None:
    sizes = (1, 1, 1, 1, 3, 3, 3, 3)
    base = [chain_answer("a", [-1.0 * size for size in sizes], tokens=sizes)]
    other = [chain_answer("a", [-2.0 * size if size == 1 else -3.0 * size for size in sizes], tokens=sizes)]
    found = _chains(probed_run("chains_probe", base, other))
    assert one_of(found, _chains_probe.EXCESS).estimate == pytest.approx((4 * 1 + 12 * 2) / 16)
    assert one_of(found, _chains_probe.GROWTH).estimate == pytest.approx(1.0)


@pytest.mark.parametrize(("right", "share"), [(0, "0%"), (1, "25%"), (4, "100%")])
def test_losses_stand_beside_the_accuracy_of_the_model_on_its_own(right: int, share: str) -> None:
    chains = [chain_answer(f"i{number}", _losses(*FLAT)) for number in range(4)]
    # Answers to items without a chain do not count.
    answers = [answer(f"i{number}", "x", float(number < right)) for number in range(9)]
    found = _chains(probed_run("chains_probe", chains, chains, base=answers, prune=answers))
    assert f"on its own, the model has {share} (" in one_of(found, _chains_probe.GROWTH).sentence


def test_chains_of_each_model_and_task_are_told_apart() -> None:
    def asked(loss: float) -> list[Answer]:
        return [chain_answer(name, _losses(*[loss] * 8), name) for name in ("gsm8k", "sums")]

    found = _chains(probed_run("chains_probe", asked(1.0), asked(2.0), asked(4.0)))
    excess = {(row.model, row.task): row.estimate for row in found if row.measure == _chains_probe.EXCESS}
    expected = {(model.label, name): value for model, value in ((CUT, 1.0), (ALONE, 3.0)) for name in ("gsm8k", "sums")}
    assert excess == pytest.approx(expected)


@pytest.mark.parametrize("broken", [[-1.0] * 7, [], [-math.inf] * 8, [math.nan] * 8])
def test_chains_with_missing_or_infinite_values_do_not_count(broken: Sequence[float]) -> None:
    base = [chain_answer("a", _losses(*FLAT)), chain_answer("b", _losses(*FLAT))]
    found = _chains(probed_run("chains_probe", base, [chain_answer("a", broken), base[1]]))
    assert one_of(found, _chains_probe.EXCESS).n == 1
