"""What a study will do, worked out once from its settings before any weight loads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from layerlimits.errors import UserError
from layerlimits.evaluation.calibration import Calibration, calibration
from layerlimits.methods import effort, needed_kind
from layerlimits.models.locate import check_complete, layer_count, locate
from layerlimits.models.remove import check_count, check_protected, layers_for_ratio
from layerlimits.paths import given_path
from layerlimits.plugins import label
from layerlimits.recovery.data import answer_limit, training_prompts
from layerlimits.study.config import StudyConfig
from layerlimits.tasks import choose
from layerlimits.types import Sample, Task, content_hash


@dataclass(frozen=True)
class PlannedRecovery:
    """Which pruned models are finetuned, and on what.

    Args:
        kinds: ways of finetuning, one model each.
        method: label of the method whose pruned models are finetuned.
        counts: how many layers these lack.
        prompts: training prompts, which the unpruned model answers.
        max_new_tokens: where an answer is cut: the longest limit of the generation tasks.
    """

    kinds: tuple[Literal["full", "lora"], ...]
    method: str
    counts: tuple[int, ...]
    prompts: tuple[Sample, ...]
    max_new_tokens: int

    @property
    def data_hash(self) -> str:
        """Names the prompts: models finetuned on other ones cannot be compared."""
        return content_hash([[prompt.id, prompt.shots] for prompt in self.prompts])


@dataclass(frozen=True)
class ResolvedStudy:
    """A configuration with all that follows from it: preflight, estimate, session and stages work on this.

    Args:
        config: the settings.
        folder: files of the unpruned model.
        depth: its number of layers.
        tokenizer: its tokenizer.
        tasks: what is evaluated, asked as set.
        items: evaluation items by task.
        select_tasks: what scores candidates for removal.
        select_items: select items by task.
        calibration: the calibration text.
        removals: how many layers each ratio removes.
        recovery: None where nothing is finetuned.
        notes: what was decided here that a reader of the results must know.
    """

    config: StudyConfig
    folder: Path
    depth: int
    tokenizer: PreTrainedTokenizerBase
    tasks: tuple[Task, ...]
    items: Mapping[str, list[Sample]]
    select_tasks: tuple[Task, ...]
    select_items: Mapping[str, list[Sample]]
    calibration: Calibration
    removals: Mapping[float, int]
    recovery: PlannedRecovery | None
    notes: tuple[str, ...]

    @property
    def ratios(self) -> dict[int, float]:
        """The ratio of each number of layers to remove, ascending; of several that mean as many, the smallest."""
        smallest: dict[int, float] = {}
        for ratio in sorted(self.removals):
            smallest.setdefault(self.removals[ratio], ratio)
        return dict(sorted(smallest.items()))

    @property
    def most_removed(self) -> int:
        """Layers that the largest ratio removes."""
        return max(self.removals.values())

    @property
    def calibration_tokens(self) -> int:
        """Tokens of the whole calibration text."""
        return sum(map(len, self.calibration.ids))

    @property
    def selection_hash(self) -> str:
        """Names the select items: rankings by other ones cannot be compared."""
        return content_hash([[sample.id for sample in self.select_items[task.name]] for task in self.select_tasks])

    def draws(self, task: Task) -> int:
        """How many responses every item of a task gets."""
        return self.config.samples if task.kind == "generation" and self.config.temperature else 1


def resolve(config: StudyConfig) -> ResolvedStudy:
    """Work out what a study will do.

    Raises:
        UserError: a model, task, calibration text, ratio or protected layer that cannot be used; a task without items;
            a method that needs tasks of a kind that there is none of; or recovery that the settings ask for where no
            generation task says how long an answer may be.
    """
    if config.data_dir:
        given_path(config.data_dir, "--data-dir")
    folder = locate(config.model, config.revision)
    check_complete(folder)
    depth = layer_count(folder)
    tasks = tuple(choose(config.tasks, config.protocols, config.shots, config.chat))
    select_tasks = tuple(choose(config.select_tasks, chat=config.chat))
    check_protected(config.protect or (), depth)
    removals = {ratio: layers_for_ratio(ratio, depth) for ratio in config.ratios}
    check_count(max(removals.values()), depth, config.protect or ())
    items = {task.name: task.samples("evaluate", config.limit, config.data_dir) for task in tasks}
    select_items = {task.name: task.samples("select", config.select_items, config.data_dir) for task in select_tasks}
    _check_items(items)
    _check_methods(config, depth, max(removals.values()), select_tasks, select_items)
    recovery, notes = _recovery(config, tasks, removals)
    tokenizer = _tokenizer(folder)
    text = calibration(tokenizer, config.calibration_items, config.calibration)
    return ResolvedStudy(
        config,
        folder,
        depth,
        tokenizer,
        tasks,
        items,
        select_tasks,
        select_items,
        text,
        removals,
        recovery,
        notes,
    )


def _check_items(items: Mapping[str, list[Sample]]) -> None:
    for name, samples in items.items():
        if not samples:
            raise UserError(f"{name} has no item to evaluate", "give a larger file, or leave the task out")


def _check_methods(
    config: StudyConfig, depth: int, rounds: int, tasks: Sequence[Task], items: Mapping[str, list[Sample]]
) -> None:
    names = ", ".join(task.name for task in tasks)
    for method in config.methods:
        kind = needed_kind(method)
        if kind and not any(task.kind == kind for task in tasks):
            raise UserError(
                f"{label(method)} needs a {kind} task to select layers by, and select_tasks has none ({names})",
                f"add a {kind} task to select_tasks, or leave {label(method)} out",
            )
        empty = [name for name, samples in items.items() if not samples]
        if empty and (kind or effort(method, "evaluations", depth, rounds)):
            raise UserError(
                f"{empty[0]} has no item to select layers by, and {label(method)} needs some",
                "give a larger file, or leave the task out of select_tasks",
            )


def _recovery(
    config: StudyConfig, tasks: Sequence[Task], removals: Mapping[float, int]
) -> tuple[PlannedRecovery | None, tuple[str, ...]]:
    """What is finetuned, and a note where nothing can be."""
    settings = config.recovery
    if not settings.kinds:
        return None, ()
    reason = _no_recovery(config, tasks)
    if reason:
        if config.asks_for_recovery:
            raise UserError(f"nothing can be recovered: {reason}", "add a generation task, or set recovery.kinds = []")
        return None, (f"Recovery was skipped: {reason}.",)
    prompts = training_prompts(tasks, settings.items, config.data_dir)
    counts = dict.fromkeys(removals[ratio] for ratio in config.recovery_ratios)
    longest = answer_limit(tasks)
    return PlannedRecovery(settings.kinds, label(config.recovery_method), tuple(counts), tuple(prompts), longest), ()


def _no_recovery(config: StudyConfig, tasks: Sequence[Task]) -> str:
    """Why nothing can be finetuned; empty where something can."""
    names = ", ".join(task.name for task in tasks)
    if not any(task.kind == "generation" for task in tasks):
        return f"no generation task says how long a training answer may be, and all tasks are choice tasks ({names})"
    if not any(task.samples("train", 1, config.data_dir) for task in tasks):
        return f"no task has a training prompt ({names})"
    return ""


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the tokenizer in {folder} cannot be loaded: {reason}", "check the folder, or download the model again"
        ) from None
    return tokenizer
