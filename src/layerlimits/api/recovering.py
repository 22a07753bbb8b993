"""`recover`: finetune a pruned model on responses of the unpruned model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlimits.api.models import ModelSource, settings
from layerlimits.api.options import DefaultTasks, Tasks
from layerlimits.api.tasks import common_chat, resolved_tasks
from layerlimits.chat_options import PLAIN, ChatOptions
from layerlimits.errors import UserError
from layerlimits.paths import DATA_DIR, check_new_folder, given_path
from layerlimits.progress import Bar
from layerlimits.recovery import recover as recovery
from layerlimits.recovery.pairing import check_pair
from layerlimits.recovery.settings import FinetuneConfig, finetune_config
from layerlimits.recovery.sources import RecoverConfig
from layerlimits.results.recovered import RecoverResults
from layerlimits.sampling import GREEDY, Decoding, check_items
from layerlimits.tasks import check_sandbox
from layerlimits.types import Task

# The two stages of recovery count equally on the progress bar; each goes from 0 to 1.
_STAGES = 2.0
_FULL = FinetuneConfig(kind="full")


# How the unpruned model answers in arXiv 2602.01997.
_PAPER_ANSWERS: dict[str, Any] = {
    "decoding": Decoding(temperature=0.9, top_p=0.95),
    "max_new_tokens": 8192,
    "keep_truncated": True,
}


@dataclass(frozen=True)
class RecoverOptions:
    """Training data and finetuning settings of `recover`.

    Args:
        items: Number of training prompts.
        data: Dataset of the training prompts instead of the tasks' train splits: a .jsonl file, a folder or a hub id,
            in the format of Alpaca, GSM8K, OpenThoughts or Dolci, or with a column of prompts or messages.
        data_dir: Folder with benchmark files; downloads from the hub if None.
        max_new_tokens: Maximum length of a response; the tasks' own limits if None. Truncated responses are not used
            for training.
        decoding: How the unpruned model responds; `samples` is the number of responses per prompt.
        keep_truncated: Train on truncated responses too.
        correct_only: Train only on responses that their task scores as correct.
        unsafe: Run programs in responses without a sandbox.
        milestones: How many times the model is evaluated on selection items while it trains, after numbers of tokens
            that double up to the end; the weights of the best time are saved. 0: never.
        select_items: Number of selection items per task.
        save_answers: File (.jsonl) for the training answers, as a dataset of messages.
        template: System turn and arguments of the chat template; use those that the model will be evaluated with.
        finetune: Settings of the finetuning, including the objective. Default: full finetuning for one epoch on
            responses of the unpruned model.

    Raises:
        UserError: A value is outside its range, or a path is invalid.

    Example:
        >>> RecoverOptions(items=500, finetune=FinetuneConfig(kind="lora", lora_rank=16))
    """

    items: int = 1000
    data: str | None = None
    data_dir: Path | None = None
    max_new_tokens: int | None = None
    decoding: Decoding = GREEDY
    keep_truncated: bool = False
    correct_only: bool = False
    unsafe: bool = False
    milestones: int = 0
    select_items: int = 32
    save_answers: Path | None = None
    finetune: FinetuneConfig = _FULL
    template: ChatOptions = PLAIN

    def __post_init__(self) -> None:
        check_items(self.items)
        check_items(self.select_items, "select_items")
        if self.data_dir is not None:
            object.__setattr__(self, "data_dir", given_path(self.data_dir, DATA_DIR))
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise UserError(f"max_new_tokens is {self.max_new_tokens}", "set max_new_tokens to 1 or more")
        if self.decoding.max_new_tokens is not None:
            raise UserError(
                "the maximum length of a response is set in decoding", "set max_new_tokens of RecoverOptions instead"
            )


def recover_options(preset: str = "default", finetune: FinetuneConfig | None = None, **settings: Any) -> RecoverOptions:
    """The options of a preset, with changes.

    Args:
        preset: "default", or "paper" for the responses and the finetuning of arXiv 2602.01997.
        finetune: Settings of the finetuning; those of the preset if None.
        settings: Options of `RecoverOptions` by name; those that are None are those of the preset.

    Raises:
        UserError: The preset is unknown, or as for `RecoverOptions`.

    Example:
        >>> recover_options("paper", items=52_000, data="tatsu-lab/alpaca").max_new_tokens
        8192
    """
    usual = _FULL if preset == "default" else finetune_config(preset)
    changes = {name: value for name, value in settings.items() if value is not None}
    chosen = finetune or usual
    # Answers that the prompts come with are not generated.
    answers = _PAPER_ANSWERS if preset == "paper" and chosen.objective != "own" else {}
    return RecoverOptions(finetune=chosen, **(answers | changes))


_DEFAULT = RecoverOptions()


def recover(
    pruned: str | Path,
    parent: ModelSource,
    out: str | Path,
    tasks: Tasks | None = None,
    options: RecoverOptions = _DEFAULT,
    *,
    command: str = "",
) -> RecoverResults:
    """Finetune a pruned model, by default on responses of the unpruned model. Repeating an interrupted call resumes it.

    Args:
        pruned: Folder of the pruned model.
        parent: The unpruned model, in any form that `evaluate` accepts. It is loaded from its files, with the same
            dtype and device as the pruned model.
        out: Output folder for the finetuned checkpoint; must not exist, or must be empty.
        tasks: Tasks that provide the training prompts, in any form that `evaluate` accepts; by default those that
            `evaluate` uses for `parent`, without tasks that have no training items. Use the prompt settings that the
            model will be evaluated with.
        options: Training data, and settings of the finetuning.
        command: Command line to record in the checkpoint's recipe.

    Raises:
        UserError: `out` is not empty, `pruned` was not pruned from `parent`, or training items are also evaluated; see
            `recovery.recover`.

    Example:
        >>> prune("reference", "pruned", PruneOptions(remove=(4, 5)))
        >>> recover("pruned", "reference", "recovered", ["arithmetic"], RecoverOptions(items=200)).trained_tokens
    """
    scored = options.correct_only or options.milestones > 0
    resolved = _training_tasks(tasks, parent, options, unsafe=options.unsafe or not scored)
    source, chat, folder = settings(parent), common_chat(resolved), Path(out)
    # Fail before the progress bar appears, so that only the error is printed.
    check_new_folder(folder)
    if scored:
        check_sandbox(resolved, options.unsafe)
    check_pair(str(pruned), source.model, source.revision, chat, options.template)
    config = RecoverConfig(
        items=options.items,
        data=options.data,
        max_new_tokens=options.max_new_tokens,
        decoding=options.decoding,
        keep_truncated=options.keep_truncated,
        correct_only=options.correct_only,
        unsafe=options.unsafe,
        chat=chat,
        template=options.template,
        milestones=options.milestones,
        select_items=options.select_items,
        data_dir=options.data_dir,
        revision=source.revision,
        dtype=source.dtype,
        device=source.device,
        save_answers=options.save_answers,
        command=command,
    )
    with Bar(_STAGES) as bar:
        before: dict[str, float] = {}

        def on_progress(stage: str, done: float, total: int) -> None:
            share = done / total
            bar.name(stage)
            bar.advance(share - before.get(stage, 0.0))
            before[stage] = share

        results = recovery.recover(str(pruned), source.model, folder, resolved, options.finetune, config, on_progress)
        return RecoverResults(**results)


def _training_tasks(tasks: Tasks | None, parent: ModelSource, options: RecoverOptions, *, unsafe: bool) -> list[Task]:
    """The tasks that provide training prompts and selection items; default tasks without training items are omitted,
    unless the prompts come from a dataset.
    """
    resolved, _ = resolved_tasks(tasks, parent, options.data_dir, unsafe=unsafe)
    # Documents have no training prompts.
    resolved = [task for task in resolved if task.kind != "text"] or resolved
    if options.data is None and (tasks is None or isinstance(tasks, DefaultTasks)):
        return [task for task in resolved if task.samples("train", 1, options.data_dir)]
    return resolved
