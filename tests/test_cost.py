"""The diagnostic `cost` on made-up runs with known outcomes, and the statistics of costs per success."""

from collections.abc import Sequence
from random import Random
from typing import Any, cast

import pytest
from fake_run import BASE, FakeRun, answer, skipped, task
from findings import CUT, check_sentence, found, pick, two_models

from layerlimits.diagnostics import Answer, DiagnosedModel
from layerlimits.evaluation.artifacts import TimingRecord
from layerlimits.statistics.costs import cost_per_success, relative_cost

GSM8K = task("gsm8k")
RELATIVE = "time per correct answer against the unpruned model"


def _timing(removed: Sequence[int], rates: Sequence[float], **fields: Any) -> TimingRecord:
    record = {"removed": list(removed), "parameters": 1000, "weight_bytes": 4000, "memory_bytes": 5000}
    return cast(TimingRecord, record | {"tokens_per_s": list(rates)} | fields)


def _answers(length: int, right: int, n: int = 4) -> list[Answer]:
    return [answer(f"i{k}", "x" * length, float(k < right)) for k in range(n)]


def _run(other: Sequence[Answer], speedup: float = 1.25, model: DiagnosedModel = CUT) -> FakeRun:
    """Four right answers of ten tokens of the unpruned model, and another model with a speed."""
    run = two_models(_answers(10, 4), other, GSM8K, model)
    run.timings = [_timing([], [100.0] * 3), _timing(model.removed, [100 * speedup] * 3)]
    return run


@pytest.mark.parametrize(
    ("speedup", "length", "right", "ratio"),
    [
        (1.25, 10, 4, 0.8),
        (1.2, 14, 4, 1.4 / 1.2),
        (1.25, 14, 4, 1.12),
        (2.0, 10, 2, 1.0),
        (1.0, 10, 4, 1.0),
        (1.0, 5, 4, 0.5),
        (1.5, 10, 1, 4 / 1.5),
        (0.5, 10, 4, 2.0),
        (4.0, 30, 3, 1.0),
    ],
)
def test_time_per_correct_answer(speedup: float, length: int, right: int, ratio: float) -> None:
    rows = found("cost", _run(_answers(length, right), speedup))
    row = pick(rows, RELATIVE, CUT.label)
    assert row.estimate == rows[0].estimate == pytest.approx(ratio)
    assert f"{speedup:.2f} times as many tokens per second" in row.sentence
    assert f"{ratio * speedup:.2f} times as many per correct answer" in row.sentence
    for each in rows:
        check_sentence(each)


@pytest.mark.parametrize(
    ("speedup", "length", "verdict"),
    [(1.2, 14, "time is lost"), (1.5, 14, "time is gained"), (1.2, 10, "time is gained"), (0.9, 10, "time is lost")],
)
def test_twenty_percent_faster_and_forty_percent_longer_gains_nothing(
    speedup: float, length: int, verdict: str
) -> None:
    run = two_models(_answers(10, 400, 400), _answers(length, 400, 400), GSM8K)
    run.timings = [_timing([], [100.0]), _timing(CUT.removed, [100 * speedup])]
    assert f": {verdict}" in found("cost", run)[0].sentence


def test_a_difference_of_two_answers_in_twenty_is_neither_a_gain_nor_a_loss() -> None:
    run = two_models(_answers(10, 12, 20), _answers(10, 10, 20), GSM8K)
    run.timings = [_timing([], [100.0]), _timing(CUT.removed, [110.0])]
    assert found("cost", run)[0].sentence.endswith(": neither a gain nor a loss is shown.")


@pytest.mark.parametrize(("length", "right", "tokens"), [(10, 4, 10), (10, 2, 20), (30, 3, 40), (7, 1, 28)])
def test_tokens_per_correct_answer(length: int, right: int, tokens: float) -> None:
    row = pick(found("cost", _run(_answers(length, right))), "tokens per correct answer", CUT.label)
    assert row.estimate == pytest.approx(tokens)
    assert row.n == 4


def test_models_are_compared_on_common_items() -> None:
    base = [*_answers(10, 4), answer("long", "x" * 1000, 1.0)]
    run = two_models(base, _answers(10, 4), GSM8K)
    run.timings = [_timing([], [100.0]), _timing(CUT.removed, [100.0])]
    row = pick(found("cost", run), RELATIVE)
    assert (row.estimate, row.n) == (1.0, 4)
    assert "on the 4 of 5 items" in row.sentence


def test_the_median_of_ratios_within_a_repeat_is_the_speed() -> None:
    run = _run(_answers(10, 4))
    # The second repeat is slow for both.
    run.timings = [_timing([], [100.0, 10.0, 100.0]), _timing(CUT.removed, [200.0, 20.0, 150.0])]
    assert pick(found("cost", run), RELATIVE).estimate == pytest.approx(0.5)


def test_a_finetuned_model_is_as_fast_as_the_pruned_one() -> None:
    tuned = DiagnosedModel(f"{CUT.label}, finetuned (lora)", "recover", CUT.removed, "r", CUT.label)
    run = _run(_answers(10, 2), 2.0)
    stored = {**run.stored, (tuned.label, "gsm8k"): _answers(10, 4)}
    rows = found("cost", FakeRun(stored, [GSM8K], [CUT, tuned], timings=run.timings))
    assert pick(rows, RELATIVE, tuned.label).estimate == pytest.approx(0.5)
    assert (rows[0].model, rows[0].estimate) == (tuned.label, pytest.approx(0.5))
    assert "The best of 2: on gsm8k" in rows[0].sentence


def test_single_layers_have_tokens_and_no_relative_time() -> None:
    rows = found("cost", _run(_answers(10, 2), model=skipped(0)))
    assert pick(rows, "tokens per correct answer", "without layer 0").estimate == pytest.approx(20)
    assert rows[0].estimate is None
    assert "no pruned model" in rows[0].sentence


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (_answers(10, 0), "reverse, 2 removed has no correct answer to gsm8k"),
        ([], "no two models have answered the same items"),
        ([answer("z", "x", 1.0)], "no two models have answered the same items"),
        ([answer("i0", "x", 1.0, tokens=())], "has no tokens"),
        ([answer("i0", "x", 0.4)], "graded"),
    ],
)
def test_what_cannot_be_measured_says_why(other: list[Answer], why: str) -> None:
    rows = found("cost", _run(other))
    for row in (rows[0], pick(rows, RELATIVE)):
        assert row.estimate is None
        assert why in row.sentence


def test_an_unpruned_model_without_right_answers_has_no_cost() -> None:
    run = two_models(_answers(10, 0), _answers(10, 4), GSM8K)
    run.timings = [_timing([], [100.0]), _timing(CUT.removed, [100.0])]
    rows = found("cost", run)
    assert "the unpruned model has no correct answer" in pick(rows, RELATIVE).sentence
    assert pick(rows, "tokens per correct answer", "base").estimate is None
    assert pick(rows, "tokens per correct answer", CUT.label).estimate == pytest.approx(10)


@pytest.mark.parametrize(
    ("timings", "why"),
    [
        ([], "the unpruned model was not timed"),
        ([_timing([], [1.0])], "reverse, 2 removed was not timed"),
        ([_timing([2, 3], [1.0])], "the unpruned model was not timed"),
    ],
)
def test_models_that_were_not_timed(timings: list[TimingRecord], why: str) -> None:
    run = _run(_answers(10, 4))
    run.timings = timings
    rows = found("cost", run)
    assert why in pick(rows, RELATIVE).sentence
    assert why in rows[0].sentence
    for row in rows:
        check_sentence(row)


# Time and memory


def test_times_of_a_model() -> None:
    run = _run(_answers(10, 4))
    shape = {"prompts": 16, "prompt_tokens": 64, "new_tokens": 48}
    run.timings = [
        _timing([], [768.0, 768.0, 384.0], first_token_s=[0.06, 0.06, 0.12], **shape),
        _timing(CUT.removed, [1536.0] * 3, first_token_s=[0.03] * 3, **shape, parameters=750, memory_bytes=2500),
    ]
    rows = found("cost", run)
    assert pick(rows, "ms to first token", "base").estimate == pytest.approx(60)
    # 768 tokens at 768 per second take 1 s: 0.94 s for 47 tokens after the first.
    assert pick(rows, "ms per output token", "base").estimate == pytest.approx(20)
    assert pick(rows, "ms per output token", CUT.label).estimate == pytest.approx(10)
    row = pick(rows, "tokens per second", "base")
    assert (row.estimate, row.low, row.high, row.n) == (768, 384, 768, 3)
    assert "with 16 prompts of 64 tokens at once, 48 new tokens each" in row.sentence
    row = pick(rows, "parameters", CUT.label)
    assert row.estimate == 750
    assert "75% of the unpruned model's" in row.sentence
    assert "50% of the unpruned model's" in pick(rows, "bytes of memory", CUT.label).sentence
    assert "of the unpruned model's" not in pick(rows, "parameters", "base").sentence
    for each in rows:
        check_sentence(each)


def test_a_run_of_a_former_version_has_no_first_token() -> None:
    rows = found("cost", _run(_answers(10, 4)))
    assert pick(rows, "ms to first token", "base").estimate is None
    assert pick(rows, "ms per output token", "base").estimate is None
    assert pick(rows, "tokens per second", "base").estimate == 100


@pytest.mark.parametrize(
    "run", [FakeRun({}, []), FakeRun({}, [GSM8K], [CUT]), FakeRun({}, [task("a", "choice")], [CUT])]
)
def test_nothing_to_measure(run: FakeRun) -> None:
    rows = found("cost", run)
    assert all(row.estimate is None for row in rows)
    assert pick(rows, "tokens per second").sentence == "not measurable: the run has not timed any model"


def test_a_timed_plan_without_answers_has_a_name() -> None:
    run = FakeRun({}, [], timings=[_timing([], [1.0]), _timing([0, 1, 2], [1.0])])
    assert pick(found("cost", run), "parameters", "without 3 layers").estimate == 1000
    assert BASE.label in {row.model for row in found("cost", run)}


# Statistics


@pytest.mark.parametrize(
    ("cost", "success", "expected"),
    [([10, 20], [1, 0], 30), ([10, 20], [1, 1], 15), ([5], [1], 5), ([10, 20], [0, 0], None), ([0, 0], [1, 1], None)],
)
def test_cost_per_success(cost: list[float], success: list[float], expected: float | None) -> None:
    value = cost_per_success(cost, success)
    assert (value and value.estimate) == expected
    assert value is None or value.low <= value.estimate <= value.high


def test_intervals_contain_the_true_ratio() -> None:
    draw = Random(1)
    covered = runs = 0
    for _ in range(200):
        before, after, right_before, right_after = [], [], [], []
        for _ in range(40):
            length, hard = draw.lognormvariate(4, 0.5), draw.random()
            before.append(length)
            after.append(1.4 * length * draw.lognormvariate(0, 0.3) / 1.046)
            # Whoever the item is easy for gets it right: .7 and .4 of the items, and mostly the same ones.
            right_before.append(float(hard < 0.7))
            right_after.append(float((draw.random() if draw.random() < 0.3 else hard) < 0.4))
        value = relative_cost((before, after), (right_before, right_after))
        if value:
            runs += 1
            covered += value.low <= 1.4 * 0.7 / 0.4 <= value.high
    assert runs == 200
    assert covered / runs > 0.9
