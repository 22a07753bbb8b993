"""What is measured, selected by, calibrated on and trained on if the settings do not say.

The bundled tasks and texts are about an invented world that only the bundled model knows. A model with the tokenizer of
the bundled model is one of its relatives (a copy, pruned or finetuned); every other model gets real benchmarks.
"""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from layerlimits.errors import UserError
from layerlimits.evaluation.calibration import Calibration, calibration, default_calibration, text_tokens
from layerlimits.recovery.data import training_prompts
from layerlimits.recovery.instructions import instruction_prompts
from layerlimits.reference import folder as bundled_folder
from layerlimits.study.config import StudyConfig
from layerlimits.tasks import SUITES, available, check_sandbox, choose
from layerlimits.types import Sample, Task

_TOKENIZER = "tokenizer.json"
# Tasks that can be measured without benchmark files.
_PROCEDURAL = ("arithmetic", "brackets")
_BUNDLED_SELECT_TASKS = ("word_problems", "functions", "summaries")


def knows_bundled_world(folder: Path) -> bool:
    """Whether the model in a folder is the bundled model or a relative of it: its tokenizer is the same."""
    file = folder / _TOKENIZER
    return file.is_file() and file.read_bytes() == (bundled_folder() / _TOKENIZER).read_bytes()


def tasks_of(config: StudyConfig, folder: Path) -> tuple[tuple[Task, ...], tuple[str, ...]]:
    """The tasks of a study, and notes on default tasks that cannot be read.

    Raises:
        UserError: See `choose` and `default_names`.
    """
    names: Sequence[str] | None = config.tasks
    notes: tuple[str, ...] = ()
    if names is None:
        names, notes = default_names(folder, config.data_dir, unsafe=config.unsafe_code)
    return tuple(choose(names, config.protocols, config.shots, config.chat)), notes


def default_names(folder: Path, data_dir: Path | None, *, unsafe: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the tasks that a model is evaluated on by default, and a note on those that cannot be read.

    Args:
        folder: Files of the model.
        data_dir: Folder of benchmark files; the hub if None.
        unsafe: Whether programs of the model may run without a sandbox.

    Raises:
        UserError: No default benchmark can be read.
    """
    if knows_bundled_world(folder):
        return ("reference",), ()
    reasons = {name: _obstacle(name, data_dir, unsafe=unsafe) for name in SUITES["real"]}
    readable = tuple(name for name, reason in reasons.items() if not reason)
    others = {name: reason for name, reason in reasons.items() if reason}
    if all(name in _PROCEDURAL for name in readable):
        place = f"in {data_dir}" if data_dir else "on the hub"
        first = next(iter(others.values()))
        raise UserError(
            f"none of the {len(others)} default benchmarks can be read {place}: {first}",
            "set the data folder (--data-dir) to one with benchmark files, go online, or name tasks (--tasks), such as "
            "brackets, which needs no files",
        )
    listed = "; ".join(f"{name} ({reason})" for name, reason in others.items())
    return readable, (f"Default tasks that cannot be measured here: {listed}.",) if others else ()


def _obstacle(name: str, data_dir: Path | None, *, unsafe: bool) -> str:
    """Why a task cannot be measured on this machine; empty if it can."""
    if reason := available(name, data_dir):
        return reason
    try:
        check_sandbox(choose((name,)), unsafe)
    except UserError as error:
        return error.problem
    return ""


def select_tasks_of(config: StudyConfig, folder: Path, tasks: Sequence[Task]) -> tuple[Task, ...]:
    """The tasks on which the methods of a study score candidates."""
    if config.select_tasks is not None:
        return tuple(choose(config.select_tasks, chat=config.chat))
    return default_select_tasks(folder, tasks, config.data_dir, config.chat)


def default_select_tasks(
    folder: Path, tasks: Sequence[Task], data_dir: Path | None, chat: bool | None = None
) -> tuple[Task, ...]:
    """The tasks on which methods score candidates by default: some of the bundled tasks for a relative of the bundled
    model; else the generation tasks of `tasks` that have selection items, or the choice tasks if there are none.
    """
    if knows_bundled_world(folder):
        return tuple(choose(_BUNDLED_SELECT_TASKS, chat=chat))
    usable = [task for task in tasks if task.samples("select", 1, data_dir)]
    generation = [task for task in usable if task.kind == "generation"]
    return tuple(generation or usable)


def calibration_of(
    config: StudyConfig, folder: Path, tokenizer: PreTrainedTokenizerBase, tasks: Sequence[Task]
) -> Calibration:
    """The calibration text.

    Raises:
        UserError: See `calibration` and `default_calibration`.
    """
    longest = text_tokens(folder)
    if config.calibration or knows_bundled_world(folder):
        return calibration(tokenizer, config.calibration_items, config.calibration, longest)
    return default_calibration(tokenizer, config.calibration_items, tasks, config.data_dir, longest)


def prompts_of(config: StudyConfig, tasks: Sequence[Task]) -> list[Sample]:
    """The training prompts of the recovery stage.

    Raises:
        UserError: See `training_prompts` and `instruction_prompts`.
    """
    settings = config.recovery
    if settings.data:
        return instruction_prompts(settings.data, settings.items)
    return training_prompts(tasks, settings.items, config.data_dir)
