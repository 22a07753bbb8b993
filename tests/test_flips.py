"""The diagnostic `flips` on made-up runs with known outcomes."""

import pytest
from fake_run import FakeRun, answer, pruned, right_and_wrong, skipped, task
from findings import CUT, check_sentence, found, pick, two_models

from layerlimits.diagnostics import Answer

GSM8K = task("gsm8k")
ARC = task("arc_easy", "choice", chance=0.25)
RANDOM = pruned("random", 0, 1)


def _marks(marks: str, text: str = "t") -> list[Answer]:
    """Answers to items i0, i1, ...: right where the mark is 1, and none where it is a dot."""
    return [answer(f"i{n}", text, float(mark)) for n, mark in enumerate(marks) if mark != "."]


@pytest.mark.parametrize(
    ("base", "other", "lost", "won"),
    [
        ("1100", "1010", ["i1"], ["i2"]),
        ("1111", "0000", ["i0", "i1", "i2", "i3"], []),
        ("0000", "0110", [], ["i1", "i2"]),
        ("1010", "1010", [], []),
        ("1", "0", ["i0"], []),
        ("1111.", ".0101", ["i1", "i3"], []),
    ],
)
def test_lost_and_won_items(base: str, other: str, lost: list[str], won: list[str]) -> None:
    rows = found("flips", two_models(_marks(base), _marks(other), ARC))
    common = sum("." not in pair for pair in zip(base, other, strict=True))
    for name, items in (("lost", lost), ("won", won)):
        row = pick(rows, name)
        assert list(row.items) == items
        assert row.estimate == pytest.approx(len(items) / common)
        assert row.n == common
    for row in rows:
        check_sentence(row)


@pytest.mark.parametrize(
    ("lost", "won", "p"), [(10, 0, 0.002), (5, 5, 1.0), (0, 6, 0.031), (1, 0, 1.0), (8, 1, 0.039), (0, 0, 1.0)]
)
def test_the_test_is_that_of_mcnemar(lost: int, won: int, p: float) -> None:
    base = "1" * lost + "0" * won + "11"
    other = "0" * lost + "1" * won + "11"
    row = pick(found("flips", two_models(_marks(base), _marks(other), ARC)), "lost")
    assert f"p = {p:.2g} after" in row.sentence


def test_the_correction_counts_all_looks() -> None:
    stored = {("base", "arc_easy"): _marks("1" * 10)}
    models = [skipped(layer) for layer in range(4)]
    for model in models:
        stored[model.label, "arc_easy"] = _marks("0" * 8 + "11")
    rows = found("flips", FakeRun(stored, [ARC], models))
    # Four times 2 / 2^8.
    assert "p = 0.031 after Holm's correction for 4 looks" in pick(rows, "lost", "without layer 0").sentence


def test_items_that_only_one_model_has_answered_are_said() -> None:
    rows = found("flips", two_models(right_and_wrong(4, 0), right_and_wrong(1, 2), GSM8K))
    for row in (rows[0], pick(rows, "lost")):
        assert "on the 3 of 4 items that both have answered" in row.sentence
        assert row.n == 3


# The main finding


@pytest.mark.parametrize(
    ("base", "other", "share"), [("1100", "0100", 0.5), ("1111", "1111", 0.0), ("10000", "01111", 1.0)]
)
def test_the_main_finding_is_the_share_of_right_items_that_are_lost(base: str, other: str, share: float) -> None:
    main = found("flips", two_models(_marks(base), _marks(other), GSM8K))[0]
    assert (main.estimate, main.n) == (share, base.count("1"))
    check_sentence(main)


def test_no_model_loses_more_than_the_one_that_is_named() -> None:
    stored = {("base", "gsm8k"): _marks("1111"), ("base", "arc_easy"): _marks("1111")}
    stored |= {("without layer 0", name): _marks("0000") for name in ("gsm8k", "arc_easy")}
    stored |= {(CUT.label, "gsm8k"): _marks("0011"), (CUT.label, "arc_easy"): _marks("1110")}
    run = FakeRun(stored, [GSM8K, ARC], [skipped(0), CUT])
    main = found("flips", run)[0]
    assert (main.model, main.task, main.estimate) == (CUT.label, "gsm8k", 0.5)
    assert "in 2 combinations of pruned models and tasks" in main.sentence
    alone = found("flips", FakeRun(stored, [GSM8K, ARC], [skipped(0)]))[0]
    assert "in 2 combinations of models without one layer and tasks" in alone.sentence


def test_a_base_without_right_items_has_nothing_to_lose() -> None:
    rows = found("flips", two_models(_marks("0000"), _marks("0011"), GSM8K))
    assert rows[0].estimate is None
    assert "no item right" in rows[0].sentence
    assert pick(rows, "won").estimate == 0.5


# Texts


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        ("0123456789", "01234X", 0.5),
        ("0123456789", "X", 0.0),
        ("0123456789", "0123456789", 1.0),
        ("0123456789", "0123456789 and more", 1.0),
        ("0123456789", "", 0.0),
        ("\u5929\u6c14\u5f88\u597d", "\u5929\u6c14\u4e0d", 0.5),
        ("", "x", None),
    ],
)
def test_how_far_a_lost_answer_follows(before: str, after: str, share: float | None) -> None:
    rows = found("flips", two_models([answer("a", before, 1.0)], [answer("a", after)], GSM8K))
    assert pick(rows, "common start of lost items").estimate == share


@pytest.mark.parametrize(
    ("before", "after", "place", "shown"),
    [
        ("16 - 3 = 13", "16 - 3 = 12", 10, 'writes "3" and reverse, 2 removed "2".'),
        ("so 5", "so 5, and 6", 4, 'writes nothing more and reverse, 2 removed ", and 6".'),
        ("a\nb", "a\tb", 1, 'writes "\\nb" and reverse, 2 removed "\\tb".'),
        ("ab", "x" * 100_000, 0, 'writes "ab" and reverse, 2 removed "' + "x" * 40 + '...".'),
        ("same", "same", None, ""),
    ],
)
def test_both_texts_from_their_first_difference_on(before: str, after: str, place: int | None, shown: str) -> None:
    rows = found("flips", two_models([answer("a", before, 1.0)], [answer("a", after)], GSM8K))
    row = pick(rows, "first difference")
    assert row.estimate == place
    assert row.items == (("a",) if shown else ())
    assert row.sentence.endswith(shown)
    check_sentence(row)


def test_choice_tasks_have_no_texts() -> None:
    measures = {row.measure for row in found("flips", two_models(_marks("11"), _marks("00"), ARC))}
    assert measures == {"lost of the right ones", "lost", "won"}


# The same flips by several methods


@pytest.mark.parametrize(
    ("base", "first", "second", "name", "share", "both"),
    [
        ("111111", "011100", "011101", "lost", 2 / 3, ("i0", "i4")),
        ("111111", "111000", "000111", "lost", 0.0, ()),
        ("111111", "111000", "111000", "lost", 1.0, ("i3", "i4", "i5")),
        ("000000", "110000", "011000", "won", 1 / 3, ("i1",)),
        ("111111", "00.111", "000111", "lost", 1.0, ("i0", "i1")),
    ],
)
def test_the_same_flips_of_two_methods(
    base: str, first: str, second: str, name: str, share: float, both: tuple[str, ...]
) -> None:
    stored = {("base", "gsm8k"): _marks(base), (CUT.label, "gsm8k"): _marks(first)}
    stored[RANDOM.label, "gsm8k"] = _marks(second)
    rows = found("flips", FakeRun(stored, [GSM8K], [CUT, RANDOM]))
    row = pick(rows, f"same items {name}")
    assert row.estimate == pytest.approx(share)
    assert row.items == both
    other = pick(rows, f"same items {'won' if name == 'lost' else 'lost'}")
    assert other.estimate is None


@pytest.mark.parametrize("other", [pruned("random", 0), pruned("again", 2, 3), skipped(0)])
def test_plans_of_other_sizes_and_equal_plans_are_not_compared(other: object) -> None:
    stored = {("base", "gsm8k"): _marks("11"), (CUT.label, "gsm8k"): _marks("00"), (other.label, "gsm8k"): _marks("00")}  # type: ignore[attr-defined]  # a model
    rows = found("flips", FakeRun(stored, [GSM8K], [CUT, other]))  # type: ignore[list-item]  # a model
    assert not [row for row in rows if row.measure.startswith("same items")]


# What cannot be measured


def test_graded_answers_do_not_flip() -> None:
    graded = two_models([answer("a", "t", 0.6)], [answer("a", "t", 0.1)], task("xsum"))
    rows = found("flips", graded)
    assert all(row.estimate is None for row in rows)
    assert "graded" in rows[0].sentence
    assert "graded" in pick(rows, "lost", "base", "xsum").sentence


def test_a_graded_task_leaves_the_others() -> None:
    run = two_models(_marks("11"), _marks("10"), GSM8K)
    xsum = task("xsum")
    stored = {**run.stored, ("base", "xsum"): [answer("a", "t", 0.6)], (CUT.label, "xsum"): [answer("a", "t", 0.1)]}
    rows = found("flips", FakeRun(stored, [GSM8K, xsum], [CUT]))
    assert rows[0].estimate == 0.5
    assert pick(rows, "lost", "base", "xsum").estimate is None


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (FakeRun({}, []), "one model only"),
        (FakeRun({("base", "gsm8k"): _marks("11")}, [GSM8K]), "one model only"),
        (two_models(_marks("11"), _marks("..11"), GSM8K), "the same items"),
    ],
)
def test_what_cannot_be_measured_says_why(run: FakeRun, why: str) -> None:
    (row,) = found("flips", run)
    assert row.estimate is None
    assert why in row.sentence


def test_sampled_answers_are_compared_in_their_first_draw() -> None:
    drawn = task("gsm8k", decodings=["d0", "d1"])
    run = two_models(_marks("11"), _marks("10"), drawn)
    assert "first draw" in pick(found("flips", run), "lost").sentence
