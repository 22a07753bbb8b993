"""The diagnostic `sensitivity` on made-up runs with known outcomes."""

from collections.abc import Mapping, Sequence

import pytest
from fake_run import FakeRun, answer, pruned, right_and_wrong, skipped, task
from findings import CUT, check_sentence, found, pick, two_models

from layerlimits.diagnostics import Answer

GSM8K = task("gsm8k")
XSUM = task("xsum")
ARC = task("arc_easy", "choice", chance=0.25)
N = 60


def _run(right: Mapping[str, Sequence[int]], n: int = N) -> FakeRun:
    """A run whose unpruned model is right on all items, with the number of right items without each layer."""
    tasks = {"gsm8k": GSM8K, "xsum": XSUM, "arc_easy": ARC}
    stored: dict[tuple[str, ...], list[Answer]] = {("base", name): right_and_wrong(n, 0) for name in right}
    for name, counts in right.items():
        for layer, count in enumerate(counts):
            stored[f"without layer {layer}", name] = right_and_wrong(count, n - count)
    layers = max(len(counts) for counts in right.values())
    return FakeRun(stored, [tasks[name] for name in right], [skipped(layer) for layer in range(layers)], layers=layers)


@pytest.mark.parametrize(
    ("base", "other", "chance", "share"),
    [
        (60, 60, 0.0, 1.0),
        (60, 30, 0.0, 0.5),
        (60, 0, 0.0, 0.0),
        (40, 20, 0.0, 0.5),
        (40, 50, 0.0, 1.25),
        (60, 30, 0.25, 1 / 3),
        (60, 15, 0.25, 0.0),
        (60, 6, 0.25, -0.2),
        (30, 30, 0.25, 1.0),
    ],
)
def test_retention_is_the_share_of_the_score_above_chance(base: int, other: int, chance: float, share: float) -> None:
    about = task("t", "choice", chance=chance)
    rows = found(
        "sensitivity", two_models(right_and_wrong(base, N - base), right_and_wrong(other, N - other), about, skipped(0))
    )
    row = pick(rows, "retention", "without layer 0")
    assert row.estimate == pytest.approx(share)
    assert row.n == N
    check_sentence(row)
    check_sentence(rows[0])


@pytest.mark.parametrize("chance", [0.25, 0.5, 1.0])
def test_a_task_at_chance_has_no_retention(chance: float) -> None:
    right = round(chance * N)
    about = task("t", "choice", chance=chance)
    column = right_and_wrong(right, N - right)
    (row,) = found("sensitivity", two_models(column, column, about, skipped(0)))
    assert row.estimate is None
    assert "at chance on every task" in row.sentence


def test_one_of_two_tasks_at_chance_is_said() -> None:
    run = _run({"gsm8k": [30], "arc_easy": [30]})
    run = FakeRun(
        {
            **run.stored,
            ("base", "arc_easy"): right_and_wrong(15, 45),
            ("without layer 0", "arc_easy"): right_and_wrong(9, 51),
        },
        run.tasks,
        run.models,
    )
    row = pick(found("sensitivity", run), "retention", "base")
    assert (row.estimate, row.task, row.n) == (None, "arc_easy", N)
    assert "at chance on arc_easy" in row.sentence


@pytest.mark.parametrize(
    ("gsm8k", "arc", "lowest"),
    [
        ([60, 6, 60], [60, 60, 60], ("without layer 1", "gsm8k")),
        ([0, 30, 60], [60, 60, 60], ("without layer 0", "gsm8k")),
        ([60, 50, 60], [60, 60, 15], ("without layer 2", "arc_easy")),
    ],
)
def test_the_main_finding_is_the_lowest_retention(gsm8k: list[int], arc: list[int], lowest: tuple[str, str]) -> None:
    main = found("sensitivity", _run({"gsm8k": gsm8k, "arc_easy": arc}))[0]
    assert (main.model, main.task) == lowest
    assert "Of 6 combinations of a skipped layer and a task" in main.sentence
    check_sentence(main)


@pytest.mark.parametrize(("gsm8k", "arc", "mean"), [(60, 60, 1.0), (30, 60, 0.75), (0, 60, 0.5), (0, 15, 0.0)])
def test_mean_retention_by_class(gsm8k: int, arc: int, mean: float) -> None:
    rows = found("sensitivity", _run({"gsm8k": [gsm8k], "arc_easy": [arc]}))
    assert pick(rows, "mean retention").estimate == pytest.approx(mean)
    assert pick(rows, "mean retention, generation").estimate == pytest.approx(gsm8k / 60)
    assert pick(rows, "mean retention, choice").estimate == pytest.approx((arc / 60 - 0.25) / 0.75)


@pytest.mark.parametrize(
    ("gsm8k", "arc", "layers"),
    [
        ([6, 60], [60, 60], ["without layer 0"]),
        ([6, 6], [60, 58], ["without layer 0", "without layer 1"]),
        ([60, 60], [15, 60], []),
        ([6, 60], [18, 60], []),
        ([58, 60], [60, 60], []),
    ],
)
def test_layers_that_matter_to_generation_and_not_to_choice(
    gsm8k: list[int], arc: list[int], layers: list[str]
) -> None:
    rows = found("sensitivity", _run({"gsm8k": gsm8k, "arc_easy": arc}))
    assert [row.model for row in rows if row.measure == "generation only"] == layers
    row = pick(rows, "layers that matter more to generation")
    assert row.estimate == pytest.approx(len(layers) / 2)
    assert all(layer in row.sentence for layer in layers)
    assert f"{len(layers)} of 2 layers" in row.sentence


def test_classes_are_not_compared_without_choice_tasks() -> None:
    row = pick(found("sensitivity", _run({"gsm8k": [6]})), "layers that matter more to generation")
    assert row.estimate is None


@pytest.mark.parametrize(
    ("base", "without", "helping"),
    [
        (10, [40, 10], ["without layer 0"]),
        (10, [13, 10], []),
        (40, [10, 40], []),
        (10, [10, 10], []),
        (10, [40, 50], ["without layer 0", "without layer 1"]),
    ],
)
def test_a_removal_helps_only_if_it_survives_the_correction(base: int, without: list[int], helping: list[str]) -> None:
    run = _run({"gsm8k": without})
    run = FakeRun({**run.stored, ("base", "gsm8k"): right_and_wrong(base, N - base)}, run.tasks, run.models)
    rows = found("sensitivity", run)
    assert [row.model for row in rows if row.measure == "removal helps"] == helping
    row = pick(rows, "removals that help")
    assert row.estimate == pytest.approx(len(helping) / 2)
    assert f"In {len(helping)} of 2 combinations" in row.sentence


def test_the_same_gain_does_not_survive_forty_looks() -> None:
    few, many = _run({"gsm8k": [17]}), _run({"gsm8k": [17] + [10] * 39})
    base = {("base", "gsm8k"): right_and_wrong(10, N - 10)}
    helping = [
        [
            row.model
            for row in found("sensitivity", FakeRun({**run.stored, **base}, run.tasks, run.models))
            if row.measure == "removal helps"
        ]
        for run in (few, many)
    ]
    assert helping == [["without layer 0"], []]


def test_graded_answers_have_a_retention_and_no_test() -> None:
    base = [answer(f"i{n}", "t", 0.4 + 0.01 * (n % 3)) for n in range(40)]
    half = [answer(f"i{n}", "t", (0.4 + 0.01 * (n % 3)) / 2) for n in range(40)]
    rows = found("sensitivity", two_models(base, half, XSUM, skipped(0)))
    assert pick(rows, "retention").estimate == pytest.approx(0.5)
    assert pick(rows, "removals that help").estimate is None


@pytest.mark.parametrize(
    ("first", "second", "tau"),
    [
        ([5, 15, 30, 60], [5, 15, 30, 60], 1.0),
        ([5, 15, 30, 60], [60, 30, 15, 5], -1.0),
        ([5, 15, 30, 60], [5, 30, 15, 60], 2 / 3),
        ([5, 15], [10, 20], 1.0),
    ],
)
def test_agreement_of_two_tasks(first: list[int], second: list[int], tau: float) -> None:
    rows = found("sensitivity", _run({"gsm8k": first, "xsum": second}))
    row = pick(rows, "Kendall's tau")
    assert row.estimate == pytest.approx(tau)
    assert row.n == len(first)
    check_sentence(row)


@pytest.mark.parametrize(("first", "second"), [([30, 30, 30], [5, 15, 60]), ([30], [20])])
def test_orders_without_differences_do_not_agree_or_disagree(first: list[int], second: list[int]) -> None:
    assert pick(found("sensitivity", _run({"gsm8k": first, "xsum": second})), "Kendall's tau").estimate is None


def test_scores_are_the_means_over_draws_that_both_models_have() -> None:
    drawn = task("gsm8k", decodings=["d0", "d1"])
    stored: dict[tuple[object, ...], list[Answer]] = {}
    for draw in (0, 1):
        stored["base", "gsm8k", draw] = right_and_wrong(20, 0)
        stored["without layer 0", "gsm8k", draw] = right_and_wrong(20 * draw, 20 - 20 * draw)
    rows = found("sensitivity", FakeRun(stored, [drawn], [skipped(0)]))
    assert pick(rows, "retention").estimate == pytest.approx(0.5)
    assert pick(rows, "retention").n == 20


def test_models_are_compared_on_common_items_and_it_is_said() -> None:
    rows = found("sensitivity", two_models(right_and_wrong(20, 20), right_and_wrong(10, 0), GSM8K, skipped(0)))
    row = pick(rows, "retention")
    assert (row.estimate, row.n) == (pytest.approx(1.0), 10)
    assert "on the 10 of 40 items that both have answered" in row.sentence
    assert "on the 10 of 40 items that both have answered" in rows[0].sentence


def test_pruned_models_are_measured_where_no_layer_was_skipped() -> None:
    rows = found("sensitivity", two_models(right_and_wrong(40, 0), right_and_wrong(10, 30), GSM8K))
    assert rows[0].model == CUT.label
    assert rows[0].estimate == pytest.approx(0.25)
    assert "pruned model" in rows[0].sentence
    assert pick(rows, "removals that help").estimate is None


def test_a_pruned_model_is_not_the_lowest_single_layer() -> None:
    run = _run({"gsm8k": [30]})
    other = pruned("Reverse-2", 1, 2)
    run = FakeRun({**run.stored, (other.label, "gsm8k"): right_and_wrong(0, N)}, run.tasks, [*run.models, other])
    rows = found("sensitivity", run)
    assert rows[0].model == "without layer 0"
    assert "with Reverse-2, 2 removed" in pick(rows, "retention", other.label).sentence


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (FakeRun({("base", "gsm8k"): right_and_wrong(3, 0)}, [GSM8K]), "one model only"),
        (two_models(right_and_wrong(3, 0), right_and_wrong(3, 0, start=9), GSM8K, skipped(0)), "the same items"),
        (two_models(right_and_wrong(0, 9), right_and_wrong(0, 9), GSM8K, skipped(0)), "at chance"),
        (FakeRun({}, []), "one model only"),
    ],
)
def test_what_cannot_be_measured_says_why(run: FakeRun, why: str) -> None:
    (row,) = found("sensitivity", run)
    assert row.estimate is None
    assert why in row.sentence
