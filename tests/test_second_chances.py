"""Lost items that are asked again: which ones, by which models, and what the findings say."""

import json
from pathlib import Path

import pytest
from fake_run import BASE, FakeRun, answer, pruned, task

from layerlimits.diagnostics import DiagnosedModel
from layerlimits.diagnostics._second_chances import LONGER, ONE_EXAMPLE, concerned
from layerlimits.diagnostics.protocol import protocol
from layerlimits.evaluation.artifacts import Artifacts, TaskRecord
from layerlimits.evaluation.store import Store
from layerlimits.results.diagnose import StoredRun
from layerlimits.study.config import study_config
from layerlimits.study.pipeline import study

SUMS = task("sums", ids=["a", "b", "c", "d", "e"])
BAD, WORSE = pruned("angular", 1), pruned("reverse", 2, 3)


def _run(*probes: TaskRecord, **stored: dict[str, float]) -> FakeRun:
    """The unpruned model has a to d right; `BAD` loses a and b, of which a was cut off; `WORSE` loses b and c."""
    answers = {
        (BASE.label, "sums"): [answer(item, "1", float(item != "e")) for item in "abcde"],
        (BAD.label, "sums"): [
            answer(item, "1", float(item in "cd"), finish="length" if item in "ad" else "stop") for item in "abcde"
        ],
        (WORSE.label, "sums"): [answer(item, "1", float(item in "ad")) for item in "abcde"],
    }
    models = {"base": BASE.label, "bad": BAD.label, "worse": WORSE.label}
    for probe in probes:
        for name, values in stored.items():
            answers[models[name], probe["name"]] = [answer(item, "1", value) for item, value in values.items()]
    return FakeRun(answers, [SUMS], [BAD, WORSE], probes=probes)


def test_lost_items_are_asked_again_and_cut_off_ones_with_more_tokens() -> None:
    assert concerned(_run(), SUMS, ONE_EXAMPLE) == ["a", "b", "c"]
    assert concerned(_run(), SUMS, LONGER) == ["a"]


def test_choices_and_graded_answers_are_not_asked_again() -> None:
    choices = task("sums", "choice", ids=["a", "b"])
    assert concerned(_run(), choices, ONE_EXAMPLE) == []
    graded = FakeRun(
        {(BASE.label, "sums"): [answer("a", "x", 1.0)], (BAD.label, "sums"): [answer("a", "x", 0.4)]}, [SUMS], [BAD]
    )
    assert concerned(graded, SUMS, ONE_EXAMPLE) == []


def test_a_model_counts_the_items_that_it_lost_itself() -> None:
    record = task("sums:one_example", ids=["a", "b", "c"])
    run = _run(
        record,
        base={"a": 1.0, "b": 0.0, "c": 1.0},
        bad={"a": 1.0, "b": 0.0, "c": 1.0},
        worse={"a": 0.0, "b": 1.0, "c": 1.0},
    )
    rows = {row.model: row for row in protocol.findings(run) if row.measure == "right with one example"}
    assert (rows[BAD.label].estimate, rows[BAD.label].n, rows[BAD.label].items) == (0.5, 2, ("a",))
    assert (rows[WORSE.label].estimate, rows[WORSE.label].items) == (1.0, ("b", "c"))
    assert "items of sums that angular, 1 removed has lost, it has 50%" in rows[BAD.label].sentence
    assert "the unpruned model has 50%" in rows[BAD.label].sentence


def test_cut_off_items_alone_are_counted_with_more_tokens() -> None:
    record = task("sums:longer", ids=["a"])
    rows = [
        row
        for row in protocol.findings(_run(record, base={"a": 1.0}, bad={"a": 1.0}, worse={"a": 0.0}))
        if row.measure == "right with twice the tokens"
    ]
    assert [(row.model, row.estimate, row.n) for row in rows] == [(BAD.label, 1.0, 1)]
    assert "was cut off at, it has 100%" in rows[0].sentence


def test_without_second_chances_there_is_no_such_finding() -> None:
    assert not [row for row in protocol.findings(_run()) if row.measure.startswith("right with ")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose pruned model loses much, and whose limit of tokens cuts answers off."""
    out = tmp_path_factory.mktemp("again") / "run"
    config = study_config(
        "quick",
        model="reference",
        tasks=("arithmetic", "word_problems"),
        methods=("reverse",),
        ratios=(0.34,),
        select_tasks=("facts_choice",),
        limit=8,
        select_items=4,
        calibration_items=4,
        recovery={"kinds": ("lora",), "items": 8},
        speed_repeats=3,
    )
    study(config, out, "layerlimits study")
    return out


def test_a_study_asks_the_pruned_and_the_unpruned_model_again(run: Path) -> None:
    with Store(run, read_only=True) as store:
        assert Artifacts(store).skipped == {}
        view = StoredRun.of(store)
        record = view.probe("arithmetic:one_example")
        assert record is not None
        assert record["shots"] == 1
        (model,) = (one for one in view.models if one.stage == "prune")
        tasks = {one["name"]: one for one in view.tasks}
        expected = concerned(view, tasks["arithmetic"], ONE_EXAMPLE)[:4]
        assert record["ids"] == expected
        assert len(expected) == 4
        for each in (view.base, model):
            answers, before = view.answers(each, record), view.answers(each, tasks["arithmetic"])
            assert list(answers) == expected
            # The prompts are other ones; the unpruned model can still do it.
            assert record["prompts"][expected[0]] != tasks["arithmetic"]["prompts"][expected[0]]
            assert [answers[item].target for item in expected] == [before[item].target for item in expected]


def test_the_findings_are_in_the_results(run: Path) -> None:
    rows = json.loads((run / "results.json").read_text())["diagnostics"]
    again = [row for row in rows if row["measure"] == "right with one example"]
    assert {row["task"] for row in again} <= {"arithmetic", "word_problems"}
    assert all(row["diagnostic"] == "protocol" and row["n"] <= 4 for row in again)
    assert again


def test_a_finetuned_model_is_asked_the_same_items_again(run: Path) -> None:
    with Store(run, read_only=True) as store:
        view = StoredRun.of(store)
        record = view.probe("arithmetic:one_example")
        assert record is not None
        (model,) = (one for one in view.models if one.stage == "recover")
        assert list(view.answers(model, record)) == record["ids"]


def test_what_a_finetuned_model_has_lost_is_a_finding_of_its_own() -> None:
    tuned = DiagnosedModel("tuned", "recover", (1,), "tuned")
    record = task("sums:one_example", ids=["a", "b"])
    answers = {
        (BASE.label, "sums"): [answer(item, "1", 1.0) for item in "ab"],
        (BAD.label, "sums"): [answer(item, "1", 0.0) for item in "ab"],
        ("tuned", "sums"): [answer("a", "1", 1.0), answer("b", "1", 0.0)],
        ("tuned", "sums:one_example"): [answer("a", "1", 0.0), answer("b", "1", 1.0)],
    }
    view = FakeRun(answers, [task("sums", ids=["a", "b"])], [BAD, tuned], probes=[record])
    rows = [row for row in protocol.findings(view) if row.measure == "right with one example"]
    # Only b is lost to the finetuned model; it was asked both.
    assert [(row.model, row.estimate, row.n) for row in rows] == [("tuned", 1.0, 1)]
