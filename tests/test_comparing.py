"""What answers are summed up to, how models are compared, and what is said before figures are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest
from stored_runs import BASE, put, record

from layerlimits.evaluation.store import Store
from layerlimits.results import warnings as cautions
from layerlimits.results.comparisons import comparison, layer_scores, protocol_scores, task_score
from layerlimits.results.figures import by_item, corrected, paired_test, recognized_only, summary
from layerlimits.results.rows import Comparison, PairedTest, TaskScore
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.statistics.significance import holm
from layerlimits.types import AskFormat, Estimate, Verdict

Says = Callable[..., Any]


def test_recognized_only_is_right_by_likelihood_and_wrong_when_written() -> None:
    share = recognized_only([1, 1, 0, 1], [1, 0, 0, 0.5])
    assert share.estimate == pytest.approx((0 + 1 + 0 + 0.5) / 4)
    assert share.n == 4


def test_strict_scores_parts_and_further_measures_are_summed_up() -> None:
    verdicts = [
        Verdict("correct", 1.0, strict=1.0, measures={"acc_norm": 0.0}),
        Verdict("correct", 1.0, strict=0.0, measures={"acc_norm": 1.0}),
        Verdict("wrong", 0.0, strict=0.0, measures={"acc_norm": 1.0}),
        Verdict("error", 0.0, why="context too long: 9 tokens, and the model has 8 positions"),
    ]
    score = summary(verdicts, 4, ["a", "a", "b", "b"])
    assert score.score.estimate == 0.5
    assert score.strict is not None
    assert score.strict.estimate == 0.25
    assert score.measures["acc_norm"].estimate == 0.5
    assert {name: (part.estimate, part.n) for name, part in score.sets.items()} == {"a": (1.0, 2), "b": (0.0, 2)}
    assert score.outcomes == {"correct": 2, "error": 1, "wrong": 1}
    assert (score.draws, score.graded, score.refused) == (1, False, 1)


def test_draws_are_turned_to_items() -> None:
    assert by_item([1, 2, 3, 4, 5, 6], 3) == [[1, 4], [2, 5], [3, 6]]


def test_two_models_are_compared_exactly_and_corrected_over_the_family() -> None:
    base = [1.0] * 10
    tests = [paired_test(base, [1.0] * 10), paired_test(base, [0.0] * 10), paired_test(base, [0.5] * 10)]
    assert tests[2] is None
    half = Estimate(0.5, 0.4, 0.6, 10)
    first, second, third = corrected([Comparison("a", 0.0, half, None, None, None, test) for test in tests])
    assert first.test == PairedTest(lost=0, won=0, p=1.0, p_holm=1.0)
    assert second.test == PairedTest(lost=10, won=0, p=2 / 2**10, p_holm=4 / 2**10)
    assert second.test.significant
    assert not first.test.significant
    assert third.test is None


def test_a_comparison_is_paired_and_corrected_for_chance(tmp_path: Path) -> None:
    task = record("a", 40)
    with Store(tmp_path) as store:
        put(store, BASE, task, [1.0] * 36 + [0.0] * 4)
        put(store, BASE.without((1,)), task, [1.0] * 20 + [0.0] * 16 + [1.0] * 2 + [0.0] * 2)
        answers = StoredAnswers(store, BASE, [task])
        compared = comparison(answers, answers.fingerprint((1,)), task)
        assert comparison(answers, answers.fingerprint((2,)), task) is None
        (row,) = layer_scores(answers, range(3))
    assert compared is not None
    score, against = compared
    assert (score.score.estimate, score.score.n, score.outcomes) == (0.55, 40, {"correct": 22, "wrong": 18})
    assert against.retention is not None
    assert against.retention.estimate == pytest.approx(0.55 / 0.9)
    assert against.corrected == against.adjusted_retention
    assert against.corrected is not None
    assert against.corrected.estimate == pytest.approx((0.55 - 0.25) / (0.9 - 0.25))
    assert against.test is not None
    assert (against.test.lost, against.test.won, against.test.p_holm) == (16, 2, None)
    assert row.comparison.test == replace(against.test, p_holm=against.test.p)
    assert (row.comparison.layer, row.score) == (1, score)


@pytest.mark.parametrize("changes", [{"prompt": "other"}, {"engine": "F"}, {"decoding": "t=1 p=1 k=0 seed=0 #0"}])
def test_answers_that_were_asked_in_another_way_are_not_read(changes: dict[str, str], tmp_path: Path) -> None:
    task = record("a", 4)
    with Store(tmp_path) as store:
        put(store, BASE, task, [0.0] * 4, **changes)
        answers = StoredAnswers(store, BASE, [task])
        assert task_score(answers, BASE.fingerprint, task) is None
        put(store, BASE, task, [1.0] * 4)
        score = task_score(StoredAnswers(store, BASE, [task]), BASE.fingerprint, task)
    assert score is not None
    assert score.score.estimate == 1.0


def test_protocols_of_the_same_items_stand_beside_each_other(tmp_path: Path) -> None:
    ways: tuple[AskFormat, ...] = ("likelihood", "free")
    known, written = (record(f"a@{way}", 4, protocol=way) for way in ways)
    with Store(tmp_path) as store:
        put(store, BASE, known, [1.0, 1.0, 1.0, 0.0])
        put(store, BASE, written, [1.0, 0.0, 0.0, 0.0])
        put(store, BASE.without((0,)), known, [1.0, 1.0, 1.0, 0.0])
        answers = StoredAnswers(store, BASE, [known, written, record("b", 4)])
        (row,) = protocol_scores(answers, "base", ())
        # The free answers of this model are missing yet.
        assert list(protocol_scores(answers, "a", (0,))) == []
    assert (row.task, row.method, row.layers) == ("a", "base", 0)
    assert {way: score.estimate for way, score in row.scores.items()} == {"likelihood": 0.75, "free": 0.25}
    assert row.recognition_only is not None
    assert row.recognition_only.estimate == 0.5


def test_a_sweep_says_which_layers_differ(tiny: Path, says: Says) -> None:
    printed = says("sweep", tiny, "--tasks", "facts_choice", "--limit", 8)
    tests = [row["scores"]["facts_choice"]["test"] for row in printed["sweep"]]
    assert len(tests) == 6
    assert any(test["lost"] + test["won"] for test in tests)
    for test in tests:
        differing = test["lost"] + test["won"]
        assert test["p"] == pytest.approx(binomtest(test["lost"], differing).pvalue if differing else 1.0)
    assert [test["p_holm"] for test in tests] == pytest.approx(holm([test["p"] for test in tests]))


def task(name: str, accuracy: float = 0.5, n: int = 100_000, **changes: Any) -> TaskScore:
    """A score of a task asked by likelihood with five examples in plain text."""
    plain: dict[str, Any] = {"strict": None, "measures": {}, "sets": {}, "outcomes": {}, "draws": 1, "graded": False}
    plain |= {"version": 1, "kind": "choice", "metric": "accuracy", "chance": 0.25, "summary": "", "decodings": ()}
    plain |= {"refused": 0, "protocol": "likelihood", "shots": 5, "template": None}
    return TaskScore(score=Estimate(accuracy, accuracy, accuracy, n), name=name, **(plain | changes))


def test_cautions_name_what_differs_and_nothing_else() -> None:
    plain, chat = task("a"), task("b", protocol="free", template="1234")
    assert cautions.warnings([plain, task("c")], 0.05) == []
    (said,) = cautions.warnings([plain, chat], 0.05)
    assert said == (
        "Scores are not directly comparable across tasks, which differ in protocol and template "
        "(a: by likelihood, 5-shot, plain text; b: free generation, 5-shot, chat template)."
    )
    (said,) = cautions.warnings([task("a", 0.5, 100), task("b", 0.9, 100), task("c", 0.5, 100, graded=True)], 0.05)
    assert said.startswith("n = 100 is too small to detect a 5-point difference with 80% power; use 1,")
    assert said.endswith("(a, b).")
    (said,) = cautions.warnings([task("a", refused=3)], 0.05)
    assert said.startswith("3 of 100000 prompts of a exceed")
    assert cautions.at_chance([task("a", 0.26), task("b", 0.25)])[0].startswith(
        "The unpruned model is not above chance on b;"
    )
    assert cautions.at_chance([task("a", 0.26)]) == []


def test_the_advice_on_items_counts_the_tests_of_the_table() -> None:
    asked = [task("a", 0.5, 100), task("b", 0.0, 100)]
    # (3.4705 sqrt(.5) + .8416 sqrt(.5 - .0025))^2 / .0025 + 2 / .05 = 3755 items for 96 tests.
    (single,), (family,) = cautions.too_few(asked, 0.05), cautions.too_few(asked, 0.05, 96)
    assert "use 1,700 (a, b)" in single
    assert "80% power in one of 96 tests (Holm); use 3,800 (a, b)" in family


def test_too_few_right_answers_are_told() -> None:
    # 5 of 50 beyond chance; 10 of 40; at chance, which is another warning; 15 items without an error.
    asked = [task("a", 0.35, 50), task("b", 0.5, 40), task("c", 0.2, 50), task("d", 1.0, 15), task("e", 1.0, 14)]
    (said,) = cautions.too_few_right(asked)
    assert said.startswith(
        "Too few items for the retention of a (n = 50), e (n = 14): its intervals hold from 15 items"
    )
