"""`gate` and `advise`: exit statuses, lines, JSON, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stored_runs import finished_study
from test_verdict import study

import layerlimits as ll
from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.store import Store

Exits = Callable[..., int]
Refused = Callable[..., str]
Says = Callable[..., Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study in which two models keep nine tenths, one fails, and one cannot be told."""
    folder = tmp_path_factory.mktemp("gated") / "run"
    study(folder, {(1,): 300, (0, 1): 297, (0, 2): 150, (2,): 272})
    return folder


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ((), 0),
        (("--require", "essay>=0.9"), 0),
        (("--require", "essay>=0.9", "--require", "quiz>=0.9@0.1"), 0),
        (("--model", "method1-2"), 0),
        (("--model", "another-1"), 0),
        # A model that fails, and one of which n is too small to tell.
        (("--model", "method2-2"), 1),
        (("--model", "method3-1"), 1),
        # More than any model keeps.
        (("--require", "essay>=1.1"), 1),
        (("--require", "essay>=0.9", "--require", "mean>=2"), 1),
        # Too few items, however good the models are.
        (("--require", "essay>=0.999"), 1),
    ],
)
def test_the_status_says_whether_a_model_keeps_it(
    arguments: tuple[str, ...], status: int, run: Path, exits: Exits
) -> None:
    assert exits("gate", run, *arguments) == status
    assert exits("gate", run, *arguments, "--json") == status


def test_there_is_a_line_per_requirement_and_the_last_one_says_the_outcome(
    run: Path, exits: Exits, capsys: pytest.CaptureFixture[str]
) -> None:
    exits("gate", run, "--require", "essay>=0.9", "--require", "quiz>=0.95")
    first, second, choice, last = capsys.readouterr().out.splitlines()
    assert first.startswith("keeps: essay>=0.9@0.05: method1-2 keeps at least 90% of essay (retention 99.0%, ")
    assert second.startswith("keeps: quiz>=0.95@0.05: method1-2 keeps at least 95% of quiz (retention 98.7%, ")
    assert "shared by all 4 models" in choice
    assert last == "passed: method1-2"
    exits("gate", run, "--model", "method3-1", "--require", "essay>=0.9")
    out = capsys.readouterr().out
    assert out.startswith("too few items: essay>=0.9@0.05: method3-1 may or may not keep 90% of essay")
    assert out.endswith("not passed: method3-1\n")


def test_json_has_what_the_lines_say(run: Path, says: Says) -> None:
    said = says("gate", run, "--require", "essay>=0.9")
    assert said["passed"] is True
    assert said["model"] == said["card"]["name"] == "method1-2"
    assert said["requirements"] == ["essay>=0.9@0.05"]
    assert said == json.loads(json.dumps(ll.gate(run, ["essay>=0.9"]).to_json()))


def test_a_model_that_is_named_shares_the_error_too(run: Path) -> None:
    """It may have been picked after its results were seen."""
    named = ll.gate(run, ["essay>=0.9"], "method3-1").card.judgements[0]
    assert named.error == pytest.approx(0.05 / 2)


def test_advice_names_the_deepest_cut_of_each_method(run: Path, says: Says) -> None:
    advice = {row["method"]: row for row in says("advise", run)["methods"]}
    assert list(advice) == ["another", "method0", "method1", "method2", "method3"]
    assert (advice["method1"]["verdict"], advice["method1"]["model"], advice["method1"]["layers"]) == (
        "keeps",
        "method1-2",
        2,
    )
    # Two methods remove the same layer.
    assert advice["another"]["model"] == advice["method0"]["model"] == "method0-1"
    assert (advice["method2"]["verdict"], advice["method2"]["model"]) == ("fails", None)
    assert advice["method3"]["verdict"] == "too few items"
    assert advice["method3"]["items_needed"] > 300


def test_advice_is_printed_a_line_a_method(run: Path, exits: Exits, capsys: pytest.CaptureFixture[str]) -> None:
    assert exits("advise", run) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines[:5]] == ["another", "method0", "method1", "method2", "method3"]
    assert lines[5].startswith("2 layers of 3 can be removed keeping at least 90% of choice and at least 90% of")


def test_finetuned_models_are_advised_on_apart(tmp_path: Path) -> None:
    study(tmp_path, {(1,): 150}, finetuned=300)
    advice = {row.method: row.verdict for row in ll.advise(tmp_path).methods}
    assert advice == {"another": "fails", "method0": "fails", "method0 (full)": "keeps"}


def test_requirements_are_those_of_the_study_if_none_are_given(run: Path, tmp_path: Path) -> None:
    study(tmp_path, {(1,): 300})
    with Store(tmp_path) as store:
        artifacts = Artifacts(store)
        manifest = artifacts.manifest
        assert manifest is not None
        config = {**manifest["config"], "require": ["mean>=1.5"]}
        artifacts.manifest = {**manifest, "config": config}
        artifacts.finished = config
    assert ll.gate(tmp_path).requirements == ("mean>=1.5@0.05",)
    assert ll.gate(tmp_path, ["mean>=0.5"]).requirements == ("mean>=0.5@0.05",)
    assert ll.gate(run).requirements == ("choice>=0.9@0.05", "generation>=0.9@0.05")


@pytest.mark.parametrize("command", ["gate", "advise"])
@pytest.mark.parametrize(
    ("requirement", "words", "fixed"),
    [
        ("essay", "not of the form", "essay>=0.9"),
        ("essay>=", "not of the form", "essay>=0.9"),
        ("essay>=much", "is not a number", "essay>=0.95@0.01"),
        ("esay>=0.9", "did you mean essay?", "essay>=0.9"),
        ("generations>=0.9", "did you mean generation?", "generation>=0.9"),
        ("gsm8k>=0.9", "use one of: choice, essay, generation, mean, quiz", "quiz>=0.9"),
    ],
)
def test_bad_requirements_are_refused_and_the_fix_works(
    command: str, requirement: str, words: str, fixed: str, run: Path, refused: Refused, exits: Exits
) -> None:
    assert words in refused(command, run, "--require", requirement)
    assert exits(command, run, "--require", fixed) in (0, 1)


def test_an_unknown_model_is_refused_and_the_fix_works(run: Path, refused: Refused, exits: Exits) -> None:
    assert "did you mean method1-2 or" in refused("gate", run, "--model", "method12")
    assert exits("gate", run, "--model", "method1-2") == 0


@pytest.mark.parametrize("command", ["gate", "advise"])
def test_an_unfinished_run_and_one_with_a_single_model_are_refused(
    command: str, refused: Refused, tmp_path: Path
) -> None:
    finished_study(tmp_path / "part")
    with Store(tmp_path / "part") as store:
        Artifacts(store).finished = {}
    assert "is not finished\n  fix: repeat the command that started it" in refused(command, tmp_path / "part")
    finished_study(tmp_path / "alone")
    with Store(tmp_path / "alone") as store:
        artifacts = Artifacts(store)
        artifacts.plans, artifacts.recovered = [], {}
    assert "has only the unpruned model" in refused(command, tmp_path / "alone")
    (tmp_path / "empty").mkdir()
    assert "is not a run folder" in refused(command, tmp_path / "empty")
