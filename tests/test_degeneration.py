"""The diagnostic `degeneration` on made-up runs with known outcomes."""

from collections.abc import Sequence

import pytest
from fake_run import FakeRun, answer, pruned, skipped, task
from findings import CUT, check_sentence, found, pick, two_models

from layerlimits.diagnostics import Answer
from layerlimits.diagnostics.degeneration import degenerate

GSM8K = task("gsm8k")
XSUM = task("xsum")
LOOP = "and so on " * 20
CHINESE = "\u6211\u4eca\u5929\u53bb\u5b66\u6821\u8bfb\u4e66"
SOUND = "a sound but wrong answer"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        (" \n", None),
        ("12", False),
        (SOUND, False),
        ("3 + 4 = 7, so 7 apples are left", False),
        (LOOP, True),
        ("It begins well. " + LOOP, True),
        (LOOP + "but it ends well", True),
        ("1" + "0" * 300, True),
        ("0." + "3" * 12, True),
        ("0.333", False),
        ("\u5929" * 60, True),
        (CHINESE, False),
        (CHINESE * 5, True),
        ("!" * 40, True),
        ("ha ha ha", False),
        ("\u0628\u0631\u062d \u0648" * 30, True),
        ("\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440", False),
        ("x = 1\nx = 1\nx = 1\nx = 1\nx = 1\n", True),
        ("The cat sat. The dog sat. The bird sat.", False),
        (" ".join(map(str, range(5000))), False),
        ("ab " * 33_000, True),
    ],
)
def test_a_text_degenerates(text: str, expected: bool | None) -> None:
    assert degenerate(answer("a", text)) is expected


@pytest.mark.parametrize(("text", "expected"), [("one two " * 9, True), ("one two three", False)])
def test_a_text_without_stored_tokens_degenerates_as_well(text: str, expected: bool) -> None:
    assert degenerate(answer("a", text, tokens=())) is expected


def _lost(texts: Sequence[str]) -> FakeRun:
    base = [answer(f"i{n}", "right", 1.0) for n in range(len(texts))]
    return two_models(base, [answer(f"i{n}", text) for n, text in enumerate(texts)], GSM8K)


@pytest.mark.parametrize(
    ("texts", "share", "note"),
    [
        ([LOOP, LOOP, SOUND], 1 / 3, ""),
        ([SOUND, "sound two, wrong"], 1.0, ""),
        ([LOOP, "1" + "0" * 300], 0.0, ""),
        (["\u5929" * 60, CHINESE], 0.5, ""),
        ([SOUND, "", LOOP], 0.5, "; 1 empty answer is not counted"),
        ([SOUND, "", ""], 1.0, "; 2 empty answers are not counted"),
        (["", ""], None, "; 2 empty answers are not counted"),
    ],
)
def test_sound_share_of_lost_items(texts: list[str], share: float | None, note: str) -> None:
    rows = found("degeneration", _lost(texts))
    for row in (rows[0], pick(rows, "sound share of lost items")):
        assert row.estimate == (None if share is None else pytest.approx(share))
        assert note in row.sentence
        assert ("empty" in row.sentence) == bool(note)
        assert row.n == (sum(map(bool, texts)) or len(texts))
    for row in rows:
        check_sentence(row)


def test_the_items_of_the_finding_are_the_sound_ones() -> None:
    rows = found("degeneration", _lost([LOOP, SOUND, "another"]))
    assert rows[0].items == pick(rows, "sound share of lost items").items == ("i1", "i2")


@pytest.mark.parametrize(
    ("base", "other", "n"), [((1.0, 1.0), (1.0, 0.0), 1), ((0.0, 1.0), (0.0, 0.0), 1), ((1.0, 1.0), (0.0, 0.0), 2)]
)
def test_only_items_that_the_unpruned_model_has_right_are_lost(
    base: Sequence[float], other: Sequence[float], n: int
) -> None:
    columns = [[answer(f"i{k}", SOUND, value) for k, value in enumerate(values)] for values in (base, other)]
    assert found("degeneration", two_models(*columns, GSM8K))[0].n == n


def test_an_item_that_two_models_lose_counts_once() -> None:
    other = pruned("random", 0, 1)
    stored = {
        ("base", "gsm8k"): [answer("a", "right", 1.0), answer("b", "right", 1.0)],
        (CUT.label, "gsm8k"): [answer("a", LOOP), answer("b", SOUND)],
        (other.label, "gsm8k"): [answer("a", SOUND), answer("b", "right", 1.0)],
    }
    main = found("degeneration", FakeRun(stored, [GSM8K], [CUT, other]))[0]
    assert (main.estimate, main.n) == (0.75, 2)


def test_pruned_models_come_before_single_layers_in_the_main_finding() -> None:
    base = [answer("a", "right", 1.0)]
    stored = {("base", "gsm8k"): base, ("without layer 0", "gsm8k"): [answer("a", LOOP)]}
    alone = found("degeneration", FakeRun(stored, [GSM8K], [skipped(0)]))[0]
    assert (alone.model, alone.estimate) == ("models without one layer", 0.0)
    stored[CUT.label, "gsm8k"] = [answer("a", SOUND)]
    both = found("degeneration", FakeRun(stored, [GSM8K], [skipped(0), CUT]))[0]
    assert (both.model, both.estimate) == ("pruned models", 1.0)


def test_graded_answers_are_not_lost() -> None:
    base, other = [answer("a", SOUND, 0.6)], [answer("a", LOOP, 0.1)]
    rows = found("degeneration", two_models(base, other, XSUM))
    row = pick(rows, "sound share of lost items")
    assert row.estimate is None
    assert "graded" in row.sentence
    assert rows[0].estimate is None
    assert pick(rows, "loops", CUT.label).estimate == 1


def test_fewer_common_items_are_said() -> None:
    base = [answer(f"i{n}", "right", 1.0) for n in range(4)]
    rows = found("degeneration", two_models(base, [answer("i0", SOUND)], GSM8K))
    assert "on the 1 of 4 items" in pick(rows, "sound share of lost items").sentence


@pytest.mark.parametrize(
    ("measure", "value", "n"),
    [
        ("truncated", 0.5, 2),
        ("loops", 0.5, 2),
        ("loop onset", 0.0, 1),
        ("tokens", (len(LOOP) + 4) / 2, 2),
        ("rep-2", 1 - 3 / 59, 1),
        ("rep-4", 1 - 3 / 57, 1),
        ("self-BLEU-4", None, 0),
    ],
)
def test_measures_of_answers(measure: str, value: float | None, n: int) -> None:
    cut = [answer("a", LOOP, finish="length"), answer("b", "fine")]
    rows = found("degeneration", two_models([answer("a", "x", 1.0), answer("b", "fine", 1.0)], cut, GSM8K))
    row = pick(rows, measure, CUT.label)
    assert row.estimate == (None if value is None else pytest.approx(value))
    assert row.n == n
    assert row.items == (("a",) if measure in ("truncated", "loops") else ())


@pytest.mark.parametrize("onset", [0, 5, 300])
def test_a_planted_loop_begins_at_its_token(onset: int) -> None:
    tokens = [1000 + n for n in range(onset)] + [1, 2, 3] * 10
    looped = [answer("a", "text", tokens=tokens)]
    rows = found("degeneration", two_models([answer("a", "x", 1.0)], looped, GSM8K))
    assert pick(rows, "loop onset", CUT.label).estimate == pytest.approx(onset)
    assert pick(rows, "loop onset", "base").estimate is None


def test_self_bleu_of_a_model_is_measured_on_a_stated_number_of_answers() -> None:
    same = [answer(f"i{n}", "The cat sat on the mat. The cat sat on the mat.", 1.0) for n in range(40)]
    rows = found("degeneration", two_models(same, same, GSM8K))
    row = pick(rows, "self-BLEU-4", "base")
    assert (row.estimate, row.n) == (pytest.approx(1.0), 25)
    assert "first 25 answers" in row.sentence


@pytest.mark.parametrize(
    "run",
    [
        FakeRun({}, []),
        FakeRun({}, [task("arc", "choice")], [CUT]),
        FakeRun({}, [GSM8K], [CUT]),
        two_models([answer("a")], [answer("a")], GSM8K),
    ],
)
def test_nothing_to_measure(run: FakeRun) -> None:
    rows = found("degeneration", run)
    assert rows[0].estimate is None
    for row in rows:
        check_sentence(row)


def test_without_another_model_the_unpruned_one_is_measured() -> None:
    column: list[Answer] = [answer("a", SOUND, 1.0)]
    rows = found("degeneration", FakeRun({("base", "gsm8k"): column}, [GSM8K]))
    assert rows[0].estimate is None
    assert pick(rows, "rep-2", "base").estimate == 0
