"""A study is worked out once, at its start: what cannot work is refused there, and what fails later is skipped."""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from small_models import small_llama

from layerlimits.cli.study import study as study_command
from layerlimits.errors import UserError
from layerlimits.recovery import answers
from layerlimits.study import defaults, resolved
from layerlimits.study.config import RecoverySettings, StudyConfig, study_config
from layerlimits.study.pipeline import REPORT
from layerlimits.study.resolved import resolve
from layerlimits.tasks import choose
from layerlimits.types import Verdict

Refused = Callable[..., str]
Says = Callable[..., Any]

SMALL: dict[str, Any] = {
    "tasks": ("facts", "facts_choice"),
    "methods": ("reverse", "random"),
    "select_tasks": ("facts_choice",),
    "ratios": (0.17, 0.34),
    "limit": 3,
    "select_items": 4,
    "calibration_items": 4,
    "speed_repeats": 3,
    "recovery": {"kinds": ()},
}


def settings(model: Path, **changes: Any) -> StudyConfig:
    """A study of seconds."""
    return study_config("quick", model=str(model), **SMALL | changes)


def toml(folder: Path, text: str) -> Path:
    """A file of settings, those of a study of seconds where it says nothing else."""
    path = folder / "study.toml"
    # What stands before the first table.
    given = {line.partition(" = ")[0] for line in text.partition("[recovery]")[0].splitlines()}
    usual = {
        name: str(list(value)) if isinstance(value, tuple) else value
        for name, value in SMALL.items()
        if name not in given and name != "recovery"
    }
    path.write_text("\n".join(f"{name} = {value}" for name, value in usual.items()) + f"\n{text}\n")
    return path


def test_everything_is_worked_out_once(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(module: ModuleType, name: str) -> None:
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, **named: (calls.append(name), original(*given, **named))[1])

    counted(resolved, "layers_for_ratio")
    for name in ("choose", "training_prompts", "calibration"):
        counted(defaults, name)
    study = resolve(settings(tiny, recovery={"items": 8}))
    assert calls.count("choose") == 2
    assert calls.count("layers_for_ratio") == 2
    assert calls.count("training_prompts") == calls.count("calibration") == 1
    assert study.ratios == {1: 0.17, 2: 0.34}
    assert [len(samples) for samples in study.items.values()] == [3, 3]
    assert study.recovery is not None
    assert study.recovery.counts == (1, 2)
    assert len(study.recovery.prompts) == 8


def test_of_ratios_that_remove_as_many_layers_the_smallest_stands(tiny: Path) -> None:
    assert resolve(settings(tiny, ratios=(0.3, 0.2, 0.17, 0.34))).ratios == {1: 0.17, 2: 0.3}


def test_answers_to_train_on_are_as_long_as_generation_tasks_allow(tiny: Path) -> None:
    (facts,) = choose(["facts"])
    recovery = resolve(settings(tiny, recovery={"items": 4})).recovery
    assert recovery is not None
    assert recovery.max_new_tokens == facts.max_new_tokens > 0


@pytest.mark.parametrize("tasks", ["facts_choice", "facts_choice,inference_choice"])
def test_a_study_of_choice_tasks_ends_without_recovery_and_says_so(
    tasks: str, says: Says, tiny: Path, tmp_path: Path
) -> None:
    config, run = toml(tmp_path, ""), tmp_path / "run"
    results = says("study", tiny, "--config", config, "--tasks", tasks, "--out", run)
    assert (run / REPORT).exists()
    assert results["recovery"] == []
    assert results["speed"]
    (note,) = [note for note in results["notes"] if note.startswith("Recovery was skipped")]
    assert "all tasks are choice tasks" in note
    assert "Recovery was skipped" in (run / REPORT).read_text()


@pytest.mark.parametrize("line", ["items = 16", "kinds = ['lora']", "ratios = [0.17]"])
def test_recovery_that_a_file_asks_for_needs_a_generation_task(
    line: str, refused: Refused, tiny: Path, tmp_path: Path
) -> None:
    config = toml(tmp_path, f"tasks = ['facts_choice']\n[recovery]\n{line}")
    for more in ((), ("--plan",)):
        said = refused("study", tiny, "--config", config, "--out", tmp_path / "run", *more)
        assert "all tasks are choice tasks (facts_choice)" in said
        assert "recovery.kinds = []" in said
    assert not (tmp_path / "run").exists()
    resolve(settings(tiny, tasks=("facts_choice",), recovery={"kinds": []}))


def test_a_method_that_needs_tasks_of_another_kind(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    said = refused("study", tiny, "--config", toml(tmp_path, ""), "--methods", "chain_loss", "--out", tmp_path / "run")
    assert "chain_loss requires a generation task in select_tasks, which contains only facts_choice" in said
    mine = tmp_path / "mine.py"
    mine.write_text("NEEDED_KIND = 'choice'\ndef mine(context):\n    raise AssertionError\n")
    with pytest.raises(UserError, match="mine requires a choice task"):
        resolve(settings(tiny, methods=(str(mine),), select_tasks=("facts",)))
    assert not (tmp_path / "run").exists()
    resolve(settings(tiny, methods=("chain_loss",), select_tasks=("facts",)))


def _task_file(folder: Path, samples: str) -> Path:
    file = folder / "rare.py"
    file.write_text(
        "from layerlimits.types import Sample, Task, Verdict\n"
        f"rare = Task('rare', 1, 'generation', lambda split, limit, folder: {samples},\n"
        "            lambda sample, response: Verdict('wrong', 0.0), max_new_tokens=4)\n"
    )
    return file


def test_a_task_without_items(tiny: Path, tmp_path: Path) -> None:
    rare = str(_task_file(tmp_path, "[Sample('a', 'b', split)] if split == 'train' else []"))
    with pytest.raises(UserError, match="rare has no evaluation items"):
        resolve(settings(tiny, tasks=("facts", rare)))
    with pytest.raises(UserError, match="rare has no selection items, which task_score requires"):
        resolve(settings(tiny, methods=("task_score",), select_tasks=("facts", rare)))
    resolve(settings(tiny, methods=("reverse",), select_tasks=("facts", rare)))


def test_tasks_without_training_prompts_leave_recovery_out(tiny: Path, tmp_path: Path) -> None:
    rare = str(_task_file(tmp_path, "[Sample('a', 'b', split)] if split == 'evaluate' else []"))
    study = resolve(study_config("quick", model=str(tiny), **{**SMALL, "tasks": (rare,), "recovery": {}}))
    assert study.recovery is None
    assert "no task has training prompts (rare)" in study.notes[0]


def test_what_fails_later_is_skipped_and_the_rest_stands(says: Says, tiny: Path, tmp_path: Path) -> None:
    """An untaught model answers no question: nothing can be ranked by its scores, and no answer of it trained on."""
    config, run = toml(tmp_path, "select_tasks = ['functions']"), tmp_path / "run"
    results = says("study", tiny, "--config", config, "--methods", "reverse,task_score,chain_loss", "--out", run)
    skipped = [warning for warning in results["warnings"] if warning.startswith("Skipped ")]
    assert any("method task_score: " in warning for warning in skipped)
    assert any("method chain_loss: " in warning for warning in skipped)
    assert any("recovery after task_score: task_score has no pruned model" in warning for warning in skipped)
    assert {row["method"] for row in results["methods"]} == {"reverse"}
    assert {row["method"] for row in results["pruned"]} == {"reverse"}
    # Timed without the layers of the method that did rank.
    reverse = next(row["order"] for row in results["methods"])
    assert [row["removed"] for row in results["speed"]] == [[], reverse[:1], sorted(reverse[:2])]
    page = (run / REPORT).read_text()
    assert "Skipped method task_score" in page


def test_recovery_without_one_finished_answer_is_skipped(
    says: Says, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_finished", lambda sample, response: Verdict("truncated", 0.0))
    config = toml(tmp_path, "[recovery]\nitems = 4")
    results = says("study", tiny, "--config", config, "--out", tmp_path / "run")
    (warning,) = [warning for warning in results["warnings"] if warning.startswith("Skipped ")]
    assert "Skipped recovery with the objective self: none of the 4 answers can be used" in warning
    assert results["speed"]


def test_no_method_that_ranks_still_ends_in_a_report(says: Says, tiny: Path, tmp_path: Path) -> None:
    config = toml(tmp_path, "select_tasks = ['functions']")
    results = says("study", tiny, "--config", config, "--methods", "task_score", "--out", tmp_path / "run")
    assert (results["methods"], results["pruned"], results["speed"]) == ([], [], [])
    assert any("no method has ranked" in warning for warning in results["warnings"])
    assert (tmp_path / "run" / REPORT).exists()


def test_a_model_of_few_positions_is_timed_on_shorter_prompts() -> None:
    from layerlimits.study.speed import timings

    (timing,) = timings(small_llama(2, max_position_embeddings=50), [()], 1)
    assert len(timing.tokens_per_s) == 1
    with pytest.raises(UserError, match="at least 49 positions, and the model has 40"):
        timings(small_llama(2, max_position_embeddings=40), [()], 1)


def test_every_setting_is_documented_with_its_flag() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "settings.md").read_text()
    cells = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("|")]
    rows = {name.strip(" `"): flag.strip(" `") for name, flag in cells}
    names = [name for name in StudyConfig.model_fields if name != "recovery"]
    names += [f"recovery.{name}" for name in RecoverySettings.model_fields]
    assert set(rows) - {"setting", "---"} == set(names)
    flags = {"--" + name.replace("_", "-") for name in signature(study_command).parameters} | {"--protocol", "MODEL"}
    assert {flag for flag in rows.values() if flag and flag not in ("flag", "---")} <= flags
    # A parameter of the command without a row would be a setting that nobody finds.
    commands = {"--plan", "--out", "--config", "--as-json", "--model"}
    assert flags - commands <= set(rows.values())
