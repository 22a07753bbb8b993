"""A study with several objectives and a recovery curve."""

from pathlib import Path

import pytest
from small_models import saved, talkative_llama

from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts, RecoveredRecord
from layerlimits.evaluation.store import Store
from layerlimits.evaluation.verify import verify
from layerlimits.study.config import StudyConfig, study_config
from layerlimits.study.pipeline import study
from layerlimits.study.preflight import check_study

_OBJECTIVES = ("own", "self", "distill")


def settings(model: Path, studied: tuple[str, ...] = ("reverse",), **recovery: object) -> StudyConfig:
    return study_config(
        "quick",
        model=str(model),
        device="cpu",
        tasks=("facts", "inference_choice"),
        methods=studied,
        ratios=(0.5,),
        limit=4,
        select_tasks=("facts",),
        select_items=3,
        calibration_items=8,
        speed_repeats=3,
        recovery={"items": 24, **recovery},
    )


def recovered(out: Path) -> dict[str, RecoveredRecord]:
    with Store(out, read_only=True) as store:
        return Artifacts(store).recovered


def test_every_objective_has_a_model_with_a_curve(tmp_path: Path) -> None:
    model = saved(talkative_llama(4), tmp_path / "model")
    out = tmp_path / "run"
    config = settings(model, objectives=_OBJECTIVES, milestones=2)
    study(config, out, "layerlimits study")
    records = recovered(out)
    assert set(records) == {"reverse-2-full-own", "reverse-2-full", "reverse-2-full-distill"}
    for record in records.values():
        curve = record["curve"]
        assert [len(point["scores"]["facts"]) for point in curve] == [3, 3, 3]
        assert [len(values) for values in record["curve_base"].values()] == [3]
        assert curve[0]["tokens"] == 0 < curve[1]["tokens"] < curve[2]["tokens"] == record["trained_tokens"]
        assert record["best_tokens"] in [point["tokens"] for point in curve[1:]]
    by_objective = {record["settings"]["objective"]: record for record in records.values()}
    assert by_objective.keys() == set(_OBJECTIVES)
    # The same prompts, tokens and steps; the targets differ.
    for name in ("examples", "trained_tokens", "dropped"):
        assert by_objective["self"][name] == by_objective["distill"][name]  # type: ignore[literal-required]  # a loop
    assert len({record["fingerprint"] for record in records.values()}) == 3
    # The pruned model is the same, so that curves of the same answers begin at the same place.
    assert by_objective["self"]["curve"][0]["scores"] == by_objective["distill"]["curve"][0]["scores"]
    # Nothing of the models in training stays in the run folder.
    assert not list((out / "work").glob("*/*"))
    # A second time, nothing is trained.
    before = {path: path.stat().st_mtime_ns for path in (out / "models").rglob("*.safetensors")}
    study(config, out, "layerlimits study")
    assert {path: path.stat().st_mtime_ns for path in (out / "models").rglob("*.safetensors")} == before
    assert recovered(out) == records
    with pytest.raises(UserError, match=r"recovery.milestones 2, not 0"):
        check_study(settings(model, objectives=_OBJECTIVES), out)
    assert not verify(out).problems


def test_models_of_several_methods_are_finetuned(tmp_path: Path) -> None:
    model = saved(talkative_llama(4), tmp_path / "model")
    out = tmp_path / "run"
    config = settings(model, ("reverse", "block_influence"), methods=("block_influence", "reverse"))
    planned = check_study(config, out).recovery
    assert planned is not None
    assert planned.trainings == 2
    results = study(config, out, "layerlimits study")
    assert set(recovered(out)) == {"reverse-2-full", "block_influence-2-full"}
    assert {row.method for row in results.recovery} == {"reverse", "block_influence"}
    assert {each.parent for each in results.models if each.stage == "recover"} == {
        "reverse, 2 removed",
        "block_influence, 2 removed",
    }
    with pytest.raises(UserError, match=r"1 invalid setting: recovery\.methods random is not among methods"):
        settings(model, methods=("random",))
