"""Which settings of a study may change when its run folder is used again, and that refusing changes nothing."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerlimits.api import write_report
from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.store import Store
from layerlimits.progress import Bar
from layerlimits.study import stages
from layerlimits.study.config import StudyConfig, study_config
from layerlimits.study.pipeline import study
from layerlimits.study.preflight import check_study

Refused = Callable[..., str]

SETTINGS: dict[str, Any] = {
    "tasks": ("facts", "facts_choice"),
    "methods": ("reverse", "random"),
    "select_tasks": ("facts_choice",),
    "ratios": (0.17, 0.34),
    "limit": 3,
    "select_items": 4,
    "calibration_items": 4,
    "speed_repeats": 3,
    "recovery": {"kinds": (), "items": 6},
}


def changed(model: Path, **changes: Any) -> StudyConfig:
    """The study of `SETTINGS` with others in their place."""
    return study_config("quick", model=str(model), **SETTINGS | changes)


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study without recovery."""
    out = tmp_path_factory.mktemp("finished") / "run"
    study(changed(tiny), out, "layerlimits study")
    return out


@pytest.fixture(scope="module")
def recovered(finished: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a finetuned model on record, as a study with recovery leaves it."""
    out = Path(shutil.copytree(finished, tmp_path_factory.mktemp("recovered") / "run"))
    resolved = check_study(changed(tiny, recovery={"items": 6}), finished)
    assert resolved.recovery is not None
    with Store(out) as store:
        artifacts = Artifacts(store)
        manifest = artifacts.manifest
        assert manifest is not None
        manifest["training"] = resolved.recovery.data_hash
        artifacts.manifest = manifest
        store.put("recovered", {"reverse-1-full": {}})
    return out


def _contents(out: Path) -> tuple[str, str]:
    with Store(out) as store:
        names = ("manifest", "base", "tasks", "calibration", "rankings", "plans", "speed", "stages", "skipped")
        artifacts = {name: store.get(name) for name in names}
        return json.dumps([artifacts, list(store.export())], sort_keys=True), (out / "manifest.json").read_text()


FREE: list[dict[str, Any]] = [
    {"limit": 5},
    {"tasks": ("facts", "facts_choice", "brackets")},
    {"methods": ("reverse", "random", "block_influence")},
    {"ratios": (0.17, 0.34, 0.5)},
    {"speed_repeats": 4},
    {"max_rows": 100},
    {"unsafe_code": True},
    {"device": "cpu"},
    {"recovery": {"kinds": (), "items": 9, "epochs": 2}},
    {"recovery": {"kinds": ("full", "lora"), "items": 6}},
]

# The report of a finished study would be replaced by one of less. Before it is finished, these may change as well.
NARROWER: list[tuple[dict[str, Any], str]] = [
    ({"limit": 2}, "limit 3, not 2"),
    ({"tasks": ("facts",)}, "without the tasks facts_choice"),
    ({"protocols": ("free",), "tasks": ("facts", "facts_choice")}, "without the tasks facts_choice"),
    ({"methods": ("reverse",)}, r'methods \["reverse", "random"\], not \["reverse"\]'),
    ({"ratios": (0.17,)}, r"ratios \[0.17, 0.34\], not \[0.17\]"),
    ({"difference": 0.1}, "difference 0.05, not 0.1"),
    ({"budget": "5m"}, "budget null, not 300"),
]

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": 8}, "another batch size"),
    ({"chat": True}, "another chat setting"),
    ({"chat": False}, "another chat setting"),
    ({"temperature": 0.5}, "another decoding"),
    ({"max_new_tokens": 5}, "another decoding"),
    ({"seed": 1}, "seed 0, not 1"),
    ({"protect": (0,)}, r"protect null, not \[0\]"),
    ({"select_items": 5}, "select_items 4, not 5"),
    ({"select_tasks": ("inference_choice",)}, "select_tasks"),
    ({"calibration_items": 5}, "calibration_items 4, not 5"),
    ({"seed": 1, "select_items": 5}, "seed 0, not 1; select_items 4, not 5"),
]

REFUSED_AFTER_RECOVERY: list[tuple[dict[str, Any], str]] = [
    ({"recovery": {"items": 7}}, "recovery.items 6, not 7"),
    ({"recovery": {"items": 6, "epochs": 2}}, "recovery.epochs 1, not 2"),
    ({"recovery": {"items": 6}, "tasks": ("facts", "facts_choice", "brackets")}, "different training prompts"),
]


@pytest.mark.parametrize("changes", FREE, ids=str)
def test_settings_that_may_change(changes: dict[str, Any], finished: Path, tiny: Path) -> None:
    check_study(changed(tiny, **changes), finished)


@pytest.mark.parametrize(("changes", "words"), NARROWER, ids=str)
def test_an_unfinished_study_may_become_smaller(
    changes: dict[str, Any], words: str, finished: Path, tiny: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "run"))
    with Store(out) as store:
        Artifacts(store).finished = {}
    check_study(changed(tiny, **changes), out)


def test_a_finished_study_is_not_replaced_by_a_smaller_one(finished: Path, tiny: Path, refused: Refused) -> None:
    files = [(finished / name).read_bytes() for name in ("report.html", "results.json", "manifest.json")]
    arguments = ["study", tiny, "--out", finished, "--tasks", "facts,facts_choice", "--methods", "reverse,random"]
    message = refused(*arguments, "--select-tasks", "facts_choice", "--select-items", 4, "--limit", 2)
    assert "contains results with other settings" in message
    assert "limit 3, not 2" in message
    assert "fix: choose another output folder (--out), or use the old settings" in message
    assert [(finished / name).read_bytes() for name in ("report.html", "results.json", "manifest.json")] == files


def test_results_lie_in_the_run_folder(finished: Path, tmp_path: Path) -> None:
    stored = json.loads((finished / "results.json").read_text())
    assert stored["tasks"]
    (finished / "results.json").unlink()
    write_report(finished, tmp_path / "report.html")
    assert not (finished / "results.json").exists()
    results = write_report(finished)
    assert json.loads((finished / "results.json").read_text()) == results.to_json()
    assert {**stored, "created": ""} == {**results.to_json(), "created": ""}


@pytest.mark.parametrize(("changes", "words"), [*REFUSED, *NARROWER], ids=str)
def test_settings_that_contradict_what_the_folder_holds(
    changes: dict[str, Any], words: str, finished: Path, tiny: Path
) -> None:
    before = _contents(finished)
    with pytest.raises(UserError, match=words) as error:
        check_study(changed(tiny, **changes), finished)
    assert "this folder was not changed" in error.value.fix
    assert _contents(finished) == before


@pytest.mark.parametrize(("changes", "words"), REFUSED_AFTER_RECOVERY, ids=str)
def test_recovery_that_contradicts_the_recovered_models(
    changes: dict[str, Any], words: str, recovered: Path, finished: Path, tiny: Path
) -> None:
    with pytest.raises(UserError, match=words):
        check_study(changed(tiny, **changes), recovered)
    check_study(changed(tiny, **changes), finished)


def test_recovery_may_grow_by_kinds_and_ratios(recovered: Path, tiny: Path) -> None:
    for more in ({"kinds": ("full", "lora"), "items": 6}, {"ratios": (0.17,), "items": 6}, {"kinds": (), "items": 9}):
        check_study(changed(tiny, recovery=more), recovered)


def test_calibration_text_is_compared_by_its_items(finished: Path, tiny: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("one\n\ntwo\n\nthree\n\nfour\n")
    with pytest.raises(UserError, match="calibration text from the bundled world, not from "):
        check_study(changed(tiny, calibration=str(text)), finished)


def test_the_command_refuses_before_anything_is_written(finished: Path, tiny: Path, refused: Refused) -> None:
    before = _contents(finished)
    arguments = ["study", tiny, "--out", finished, "--tasks", "facts,facts_choice", "--limit", 3, "--seed", 7]
    assert "seed 0, not 7" in refused(*arguments)
    assert "seed 0, not 7" in refused(*arguments, "--plan")
    assert _contents(finished) == before


def test_a_folder_that_only_evaluate_has_used_takes_any_study(
    tiny: Path, tmp_path: Path, says: Callable[..., Any]
) -> None:
    says("evaluate", tiny, "--tasks", "facts_choice", "--limit", 2, "--out", tmp_path / "run")
    check_study(changed(tiny, seed=5, select_items=2), tmp_path / "run")


def test_more_ratios_are_timed_when_a_study_goes_on(finished: Path, tiny: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(finished, tmp_path / "run"))
    results = study(changed(tiny, ratios=(0.17, 0.34, 0.5)), out, "again")
    assert [len(row.removed) for row in results.speed] == [0, 1, 2, 3]
    assert [len(row.removed) for row in study(changed(tiny), finished, "again").speed] == [0, 1, 2]


def test_times_of_stages_add_up_over_an_interruption(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stages.sweep

    def interrupted(run: Any) -> None:
        time.sleep(0.3)
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "sweep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        study(changed(tiny), tmp_path / "run", "first")
    with Store(tmp_path / "run") as store:
        first = Artifacts(store).stages
    assert first["sweep"] >= 0.3
    monkeypatch.setattr(stages, "sweep", whole)
    spent: dict[str, float] = {}
    stage_of = Bar.stage

    def timed(bar: Bar, name: str) -> Any:
        add = bar._on_stage
        assert add is not None
        bar._on_stage = lambda stage, seconds: (spent.update({stage: seconds}), add(stage, seconds))[1]
        return stage_of(bar, name)

    monkeypatch.setattr(Bar, "stage", timed)
    results = study(changed(tiny), tmp_path / "run", "second")
    total = {stage.stage: stage.seconds for stage in results.stages}
    assert set(total) == {"base", "sweep", "rank", "prune", "diagnose", "recover", "speed"}
    for stage, seconds in total.items():
        assert seconds == pytest.approx(first.get(stage, 0.0) + spent[stage])
    assert total["sweep"] > first["sweep"]


def test_the_bar_knows_no_store() -> None:
    timed: list[tuple[str, float]] = []
    with Bar(1.0, lambda stage, seconds: timed.append((stage, seconds))) as bar:
        with bar.stage("whole"):
            time.sleep(0.02)
        with pytest.raises(ValueError, match="broken"), bar.stage("broken"):
            raise ValueError("broken")
    assert [stage for stage, _ in timed] == ["whole", "broken"]
    assert timed[0][1] >= 0.02 > timed[1][1] >= 0
