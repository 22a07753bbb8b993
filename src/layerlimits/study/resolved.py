"""Everything a study derives from its settings, resolved once, before weights load."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from transformers import PreTrainedTokenizerBase

from layerlimits.chat import bind
from layerlimits.errors import UserError
from layerlimits.evaluation.calibration import Calibration
from layerlimits.evaluation.prompts import check_chat
from layerlimits.evaluation.thinking import THINKING_TOKENS, thinks, token_limit
from layerlimits.methods import effort, needed_kind
from layerlimits.models.load import read_tokenizer
from layerlimits.models.locate import check_complete, layer_count, locate
from layerlimits.models.remove import check_count, check_protected, layers_for_ratio
from layerlimits.paths import DATA_DIR, given_path
from layerlimits.plugins import label
from layerlimits.recovery.data import answer_limit
from layerlimits.recovery.settings import Objective
from layerlimits.study.config import StudyConfig
from layerlimits.study.defaults import calibration_of, knows_bundled_world, prompts_of, select_tasks_of, tasks_of
from layerlimits.types import Sample, Task, content_hash


@dataclass(frozen=True)
class PlannedRecovery:
    """Which pruned models are finetuned, and on which prompts.

    Args:
        kinds: Kinds of finetuning, one model each.
        methods: Labels of the methods whose pruned models are finetuned.
        counts: Numbers of removed layers of these models.
        prompts: Training prompts; the unpruned model generates the responses.
        max_new_tokens: Response limit: the largest limit of the generation tasks.
        objectives: Objectives of finetuning, one model each.
        milestones: How many times each model is evaluated on selection items while it trains.
    """

    kinds: tuple[Literal["full", "lora"], ...]
    methods: tuple[str, ...]
    counts: tuple[int, ...]
    prompts: tuple[Sample, ...]
    max_new_tokens: int
    objectives: tuple[Objective, ...]
    milestones: int

    @property
    def trainings(self) -> int:
        """Number of models that are finetuned per number of removed layers."""
        return len(self.kinds) * len(self.objectives) * len(self.methods)

    @property
    def data_hash(self) -> str:
        """Hash of the prompts; models finetuned on different prompts are not comparable."""
        return content_hash([[prompt.id, prompt.shots] for prompt in self.prompts])


@dataclass(frozen=True)
class ResolvedStudy:
    """The settings of a study with everything derived from them; used by all later steps.

    Args:
        config: The settings.
        folder: Files of the unpruned model.
        depth: Number of layers of the unpruned model.
        tokenizer: Tokenizer of the unpruned model.
        tasks: Evaluated tasks, with the protocol, few-shot and chat settings applied.
        items: Evaluation items by task name.
        select_tasks: Tasks on which methods score candidates.
        select_items: Selection items by task name.
        calibration: The calibration text.
        removals: Number of removed layers by ratio.
        recovery: None if nothing is finetuned.
        notes: Decisions made here that the results must mention.
        screened: Whether tasks that the unpruned model cannot do are set aside.
        set_aside: Tasks that are measured no further, with the reasons.
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
    screened: bool = False
    set_aside: Mapping[str, str] = field(default_factory=dict)

    @property
    def measured(self) -> tuple[Task, ...]:
        """The tasks that are not set aside."""
        return tuple(task for task in self.tasks if task.name not in self.set_aside)

    @property
    def ratios(self) -> dict[int, float]:
        """The ratio by number of removed layers, ascending; the smallest if several ratios round to one number."""
        smallest: dict[int, float] = {}
        for ratio in sorted(self.removals):
            smallest.setdefault(self.removals[ratio], ratio)
        return dict(sorted(smallest.items()))

    @property
    def most_removed(self) -> int:
        """Number of layers that the largest ratio removes."""
        return max(self.removals.values())

    @property
    def calibration_tokens(self) -> int:
        """Number of tokens of the calibration text."""
        return sum(map(len, self.calibration.ids))

    @property
    def selection_hash(self) -> str:
        """Hash of the selection items; rankings from different items are not comparable."""
        return content_hash([[sample.id for sample in self.select_items[task.name]] for task in self.select_tasks])

    def answer_limit(self, task: Task) -> int:
        """Maximum number of tokens of an answer to a task."""
        chat = self.config.chat if task.chat is None else task.chat
        thinking = task.generates and thinks(self.tokenizer, chat)
        return token_limit(task, self.config.max_new_tokens, thinking=thinking)

    def draws(self, task: Task) -> int:
        """Number of responses per item of a task."""
        return self.config.samples if task.kind == "generation" and self.config.temperature else 1


def resolve(config: StudyConfig) -> ResolvedStudy:
    """Resolve the settings of a study.

    Raises:
        UserError: A model, task, calibration text, ratio or protected layer is invalid; a task has no items; a method
            requires a kind of task that is missing; or the settings request recovery without a generation task, which
            sets the response limit.
    """
    if config.data_dir:
        given_path(config.data_dir, DATA_DIR)
    folder = locate(config.model, config.revision)
    check_complete(folder)
    depth = layer_count(folder)
    tasks, notes = tasks_of(config, folder)
    check_protected(config.protect or (), depth)
    removals = {ratio: layers_for_ratio(ratio, depth) for ratio in config.ratios}
    check_count(max(removals.values()), depth, config.protect or ())
    items = {task.name: task.samples("evaluate", config.item_cap, config.data_dir) for task in tasks}
    _check_items(items)
    tokenizer = read_tokenizer(folder)
    check_chat(tokenizer, config.chat, config.model, config.template)
    bind(tokenizer, config.template)
    text = calibration_of(config, folder, tokenizer, tasks)
    screened = config.tasks is None and not knows_bundled_world(folder)
    notes = (*notes, *([f"Calibration: {text.shortage}."] if text.shortage else []))
    study = ResolvedStudy(config, folder, depth, tokenizer, tasks, items, (), {}, text, removals, None, notes, screened)
    return _with_selection_and_training(study, tasks)


def without_tasks(study: ResolvedStudy, set_aside: Mapping[str, str]) -> ResolvedStudy:
    """The study with some tasks set aside: they are neither measured further nor used for selection and training.

    Args:
        study: The study.
        set_aside: The reasons by the names of the tasks.
    Raises:
        UserError: All tasks are set aside.
    """
    left = [task for task in study.tasks if task.name not in set_aside]
    if not left:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in set_aside.items())
        raise UserError(
            f"this model cannot do these tasks: {reasons}",
            "set --tasks to tasks that the model can do, or use another model",
        )
    return replace(_with_selection_and_training(study, left), set_aside=dict(set_aside))


def with_tasks(study: ResolvedStudy, tasks: Sequence[Task]) -> ResolvedStudy:
    """The study with some of its tasks only."""
    return replace(_with_selection_and_training(study, tasks), tasks=tuple(tasks))


def with_removals(study: ResolvedStudy, removals: Mapping[float, int]) -> ResolvedStudy:
    """The study with some of its ratios only; models are finetuned at those of them that the settings name."""
    recovery = study.recovery
    if recovery:
        counts = tuple(count for count in recovery.counts if count in removals.values())
        recovery = replace(recovery, counts=counts) if counts else None
    return replace(study, removals=dict(removals), recovery=recovery)


def _with_selection_and_training(study: ResolvedStudy, tasks: Sequence[Task]) -> ResolvedStudy:
    """The study with the select and training items of these tasks."""
    config = study.config
    select_tasks = select_tasks_of(config, study.folder, tasks)
    select_items = {task.name: task.samples("select", config.select_items, config.data_dir) for task in select_tasks}
    _check_methods(config, study.depth, study.most_removed, select_tasks, select_items)
    recovery, notes = _recovery(study, tasks)
    return replace(
        study,
        select_tasks=select_tasks,
        select_items=select_items,
        recovery=recovery,
        notes=tuple(dict.fromkeys((*study.notes, *notes))),
    )


def _check_items(items: Mapping[str, list[Sample]]) -> None:
    for name, samples in items.items():
        if not samples:
            raise UserError(f"{name} has no evaluation items", "use a larger file, or omit the task")


def _check_methods(
    config: StudyConfig, depth: int, rounds: int, tasks: Sequence[Task], items: Mapping[str, list[Sample]]
) -> None:
    names = ", ".join(task.name for task in tasks)
    for method in config.methods:
        kind = needed_kind(method)
        if kind and not any(task.kind == kind for task in tasks):
            raise UserError(
                f"{label(method)} requires a {kind} task in select_tasks, which contains only {names}",
                f"add a {kind} task to select_tasks, or omit {label(method)}",
            )
        empty = [name for name, samples in items.items() if not samples]
        if empty and (kind or effort(method, "evaluations", depth, rounds)):
            raise UserError(
                f"{empty[0]} has no selection items, which {label(method)} requires",
                "use a larger file, or omit the task from select_tasks",
            )


def _recovery(study: ResolvedStudy, tasks: Sequence[Task]) -> tuple[PlannedRecovery | None, tuple[str, ...]]:
    """The planned recovery, or None and a note with the reason."""
    config, removals, settings = study.config, study.removals, study.config.recovery
    if not settings.kinds:
        return None, ()
    reason = _no_recovery(config, tasks)
    if reason:
        if config.asks_for_recovery:
            raise UserError(f"recovery is not possible: {reason}", "add a generation task, or set recovery.kinds = []")
        return None, (f"Recovery was skipped: {reason}.",)
    prompts = prompts_of(config, tasks)
    counts = dict.fromkeys(removals[ratio] for ratio in config.recovery_ratios)
    longest = answer_limit(tasks) + (THINKING_TOKENS if thinks(study.tokenizer, config.chat) else 0)
    planned = PlannedRecovery(
        kinds=settings.kinds,
        methods=tuple(map(label, config.recovery_methods)),
        counts=tuple(counts),
        prompts=tuple(prompts),
        max_new_tokens=longest,
        objectives=settings.objectives,
        milestones=settings.milestones,
    )
    return planned, ()


def _no_recovery(config: StudyConfig, tasks: Sequence[Task]) -> str:
    """Why nothing can be finetuned; empty if finetuning is possible."""
    names = ", ".join(task.name for task in tasks)
    if not any(task.kind == "generation" for task in tasks):
        return f"it requires a generation task, which sets the response limit, and all tasks are choice tasks ({names})"
    if not config.recovery.data and not any(task.samples("train", 1, config.data_dir) for task in tasks):
        return f"no task has training prompts ({names})"
    return ""
