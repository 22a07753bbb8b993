"""Where the training data of `recover` come from: settings, prompts, and checks before any model is loaded."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.evaluation.leaks import check_leaks, is_bundled, items_to_compare
from layerlimits.recovery.data import training_prompts
from layerlimits.recovery.instructions import instruction_prompts
from layerlimits.recovery.settings import FinetuneConfig
from layerlimits.tasks import SUITES, available, choose, plain
from layerlimits.types import GREEDY, Decoding, Sample, Task

# Tasks with the items of each.
Selection = list[tuple[Task, list[Sample]]]


@dataclass(frozen=True)
class RecoverConfig:
    """Settings of the training data and of the evaluation while training.

    Args:
        items: Number of training prompts.
        data: Dataset of the training prompts, see `instruction_prompts`; None uses the train splits of the tasks.
        max_new_tokens: Maximum length of an answer; truncated answers are not used for training. None: see
            `answer_limit`.
        decoding: How the unpruned model answers; `samples` is the number of answers per prompt.
        keep_truncated: Train on truncated answers too.
        correct_only: Train on answers only that their task scores as correct.
        unsafe: Run programs in answers without a sandbox.
        chat: Whether to apply the chat template, as in `AskOptions`; use the same value as for evaluation.
        milestones: Number of times that the model is evaluated while it trains; 0 for never.
        select_items: Number of selection items per task for that.
        data_dir: Folder with the tasks' benchmark files; None downloads them from the Hugging Face Hub.
        revision: Revision of the parent, if it is a Hub id.
        dtype, device: Number type and device of both models.
        run: Run folder that stores the answers; None uses a temporary folder next to `out`.
        save_answers: File to which the training examples are written.
        command: Command line to record in the checkpoint's recipe.
    """

    items: int = 1000
    data: str | None = None
    max_new_tokens: int | None = None
    decoding: Decoding = GREEDY
    keep_truncated: bool = False
    correct_only: bool = False
    unsafe: bool = False
    chat: bool | None = None
    milestones: int = 0
    select_items: int = 32
    data_dir: Path | None = None
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    run: Path | None = None
    save_answers: Path | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if self.milestones < 0:
            raise UserError(f"milestones is {self.milestones}, but must be 0 or more", "set milestones to 6, or to 0")

    @property
    def draws(self) -> int:
        """Number of answers per prompt."""
        return self.decoding.samples if self.decoding.temperature else 1


def check_sources(settings: FinetuneConfig, config: RecoverConfig) -> None:
    """Check that the settings of the data and of the evaluation agree with those of the finetuning.

    Raises:
        UserError: They do not.
    """
    generated = {
        "correct_only": config.correct_only,
        "keep_truncated": config.keep_truncated,
        "temperature": config.decoding.temperature > 0,
    }
    unused = [name for name, value in generated.items() if value]
    if settings.objective == "own" and unused:
        raise UserError(
            f"{unused[0]} is set, but the objective own uses no responses of the unpruned model",
            f"omit {unused[0]}, or use the objective self (--objective self)",
        )
    if config.milestones and settings.processes > 1:
        raise UserError(
            f"{config.milestones} milestones are evaluated in 1 process, not in {settings.processes}",
            "set milestones (--milestones) to 0, or processes (--processes) to 1",
        )
    if config.correct_only and config.data:
        raise UserError(
            f"correct_only is set, but no task scores the answers to the prompts of {config.data}",
            "omit correct_only (--correct-only), or use prompts of tasks (omit --data)",
        )


def prompts_of(tasks: Sequence[Task], config: RecoverConfig, selection: Selection) -> list[Sample]:
    """The training prompts, which contain no item that evaluates or selects.

    Raises:
        UserError: There are none, or they contain such items; see `training_prompts` and `instruction_prompts`.
    """
    if config.data:
        prompts = instruction_prompts(config.data, config.items)
    else:
        prompts = training_prompts(tasks, config.items, config.data_dir)
    evaluated = [*evaluated_items(tasks, config.data_dir), *(item for _, items in selection for item in items)]
    check_leaks("training prompts", [prompt.question for prompt in prompts], evaluated)
    return prompts


def evaluated_items(tasks: Iterable[Task], data_dir: Path | None) -> list[Sample]:
    """The items that an evaluation of the tasks could use, and those of all benchmarks in the data folder.

    Raises:
        UserError: A benchmark's items cannot be read.
    """
    compared = {plain(task.name): task for task in tasks}
    if data_dir is not None and not all(map(is_bundled, compared.values())):
        for name in dict.fromkeys(plain(name) for suite in SUITES.values() for name in suite):
            if name not in compared and not is_bundled(task := choose([name])[0]) and not available(name, data_dir):
                compared[name] = task
    return items_to_compare(compared.values(), data_dir)


def selection_items(tasks: Sequence[Task], config: RecoverConfig) -> Selection:
    """The items on which the model is evaluated while it trains, of the tasks that have selection items.

    Raises:
        UserError: No task has any.
    """
    if not config.milestones:
        return []
    items = [(task, task.samples("select", config.select_items, config.data_dir)) for task in tasks]
    found = [(task, samples) for task, samples in items if samples]
    if not found:
        names = ", ".join(task.name for task in tasks)
        raise UserError(
            f"no selection items for the recovery curve: {names} has none",
            "add a task that has (--tasks), or set milestones (--milestones) to 0",
        )
    return found
