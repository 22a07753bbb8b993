"""Default tasks of models other than the bundled one: which are asked, and which are set aside."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerlimits.errors import UserError
from layerlimits.evaluation.store import Store
from layerlimits.study.config import StudyConfig
from layerlimits.study.defaults import knows_bundled_world
from layerlimits.study.pipeline import study as run_pipeline
from layerlimits.study.resolved import resolve, without_tasks
from layerlimits.study.screening import reason_to_set_aside
from layerlimits.tasks import choose


@pytest.mark.parametrize(
    ("name", "correct", "kept"),
    [
        ("winogrande", 12, False),
        ("winogrande", 14, False),
        ("winogrande", 15, True),
        ("arc_easy", 6, False),
        ("arc_easy", 8, False),
        ("arc_easy", 9, True),
        ("gsm8k", 0, False),
        ("gsm8k", 1, False),
        ("gsm8k", 2, True),
    ],
)
def test_a_task_at_chance_or_below_five_percent_is_set_aside(name: str, correct: int, kept: bool) -> None:
    (task,) = choose([name])
    reason = reason_to_set_aside(task, [1.0] * correct + [0.0] * (24 - correct))
    assert (not reason) == kept
    if reason and task.chance:
        assert reason == f"{correct} of 24 correct, as guessing gives (chance {task.chance:.0%})"
    elif reason:
        assert "below 5%" in reason


def test_the_bundled_world_is_for_its_own_models_only(tiny: Path, foreign: Path, benchmarks: Path) -> None:
    assert knows_bundled_world(tiny)
    assert not knows_bundled_world(foreign)
    own = resolve(StudyConfig(model=str(tiny), limit=4, calibration_items=8))
    assert [task.name for task in own.tasks] == [task.name for task in choose(["reference"])]
    assert not own.screened
    other = resolve(StudyConfig(model=str(foreign), data_dir=benchmarks, limit=30, calibration_items=8))
    assert {task.name for task in other.tasks} == {"gsm8k", "arc_easy", "brackets"}
    assert other.screened
    assert {task.name for task in other.select_tasks} == {"gsm8k", "brackets"}
    assert other.recovery
    assert any("What is" in prompt.question for prompt in other.recovery.prompts)
    assert any("hellaswag" in note for note in other.notes)
    evaluated = {sample.question for samples in other.items.values() for sample in samples}
    assert not any(question in text for question in evaluated for text in other.calibration.written)


def test_tasks_that_are_set_aside_choose_no_layers_and_train_nothing(foreign: Path, benchmarks: Path) -> None:
    study = resolve(StudyConfig(model=str(foreign), data_dir=benchmarks, limit=30, calibration_items=8))
    left = without_tasks(study, {"gsm8k": "score 0.0%"})
    assert [task.name for task in left.measured] == ["brackets", "arc_easy"]
    assert [task.name for task in left.select_tasks] == ["brackets"]
    assert left.recovery
    assert not any("What is" in prompt.question for prompt in left.recovery.prompts)
    with pytest.raises(UserError, match="this model cannot do these tasks: gsm8k") as refused:
        without_tasks(study, {task.name: "score 0.0%" for task in study.tasks})
    assert "--tasks" in refused.value.fix


def test_no_benchmark_at_all_is_one_error_whose_fix_works(
    foreign: Path, tmp_path: Path, refused: Callable[..., str], says: Callable[..., Any]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    said = refused("study", foreign, "--data-dir", empty, "--out", tmp_path / "run")
    assert "none of the" in said
    assert "name tasks (--tasks), such as brackets, which needs no files" in said
    assert not (tmp_path / "run").exists()
    planned = says(
        "study", foreign, "--data-dir", empty, "--out", tmp_path / "run", "--tasks", "brackets", "--limit", 4, "--plan"
    )
    assert planned["stages"][0]["responses"] == 4


def test_an_untaught_model_can_do_nothing(
    foreign: Path, benchmarks: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    said = refused("study", foreign, "--data-dir", benchmarks, "--limit", 24, "--out", tmp_path / "run")
    assert "this model cannot do these tasks: gsm8k (score 0.0% on the first 24 items, below 5%)" in said
    assert "set --tasks" in said


def test_a_method_that_cannot_decide_is_dropped_before_the_sweep(tiny: Path, tmp_path: Path) -> None:
    config = StudyConfig(
        model=str(tiny),
        tasks=("facts_choice",),
        select_tasks=("word_problems",),
        methods=("reverse", "task_score"),
        ratios=(0.2,),
        limit=4,
        select_items=4,
        calibration_items=4,
        speed_repeats=3,
        recovery={"kinds": ()},
    )
    results = run_pipeline(config, tmp_path / "run", "it")
    reason = "the unpruned model scores 0 on all selection items of word_problems"
    assert f"Skipped method task_score: {reason}." in results.warnings
    assert {row.method for row in results.pruned} == {"reverse"}
    with Store(tmp_path / "run") as store:
        asked = {(row["task"], row["model"]) for row in store.export()}
    # Of the selection items, only the unpruned model has seen any.
    assert len([model for task, model in asked if task == "word_problems"]) == 1
