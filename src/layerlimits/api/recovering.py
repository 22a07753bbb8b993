"""`recover`: finetuning a pruned model on the unpruned model's own answers."""

from dataclasses import dataclass
from pathlib import Path

from layerlimits.api.models import ModelSource, settings
from layerlimits.api.options import Tasks
from layerlimits.api.tasks import common_chat, resolved_tasks
from layerlimits.errors import UserError
from layerlimits.paths import check_new_folder, given_path
from layerlimits.progress import Bar
from layerlimits.recovery import recover as recovery
from layerlimits.recovery.finetune import FinetuneConfig
from layerlimits.results.document import RecoverResults
from layerlimits.sampling import check_items

# The stages of recovery weigh about the same on the bar; each counts from 0 to 1.
_STAGES = 2.0
_FULL = FinetuneConfig(kind="full")


@dataclass(frozen=True)
class RecoverOptions:
    """What a pruned model is finetuned on, and how.

    Args:
        items: number of training prompts that the unpruned model answers.
        data_dir: folder of benchmark files; the hub if None.
        max_new_tokens: longest answer; longer ones are cut and not trained on. The tasks' own limit if None.
        finetune: settings of the finetuning; full finetuning for one epoch by default.
    Raises:
        UserError: a number of items or tokens outside its range, or an invalid path.

    Example:
        >>> RecoverOptions(items=500, finetune=FinetuneConfig(kind="lora", lora_rank=16))
    """

    items: int = 1000
    data_dir: Path | None = None
    max_new_tokens: int | None = None
    finetune: FinetuneConfig = _FULL

    def __post_init__(self) -> None:
        check_items(self.items)
        if self.data_dir is not None:
            object.__setattr__(self, "data_dir", given_path(self.data_dir, "--data-dir"))
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise UserError(f"max_new_tokens is {self.max_new_tokens}", "set max_new_tokens to 1 or more")


_DEFAULT = RecoverOptions()


def recover(
    pruned: str | Path,
    parent: ModelSource,
    out: str | Path,
    tasks: Tasks = "reference",
    options: RecoverOptions = _DEFAULT,
    *,
    command: str = "",
) -> RecoverResults:
    """Finetune a pruned model on its parent's answers to training prompts. An interrupted call resumes when repeated.

    Args:
        pruned: the pruned model's folder.
        parent: the unpruned model: a model of `load`, or what names one. It is loaded from its files, with the same
            number type and device as the pruned one.
        out: folder of the finetuned checkpoint; must not exist, or be empty.
        tasks: tasks of `get_tasks` or names, whose training prompts are answered; give them as you will evaluate them.
        options: number of prompts, and settings of the finetuning.
        command: recorded in the checkpoint's recipe.
    Raises:
        UserError: `out` is not empty, the models do not belong together, or training items are also evaluated; see
            `recovery.recover`.

    Example:
        >>> prune("reference", "pruned", PruneOptions(remove=(4, 5)))
        >>> recover("pruned", "reference", "recovered", ["arithmetic"], RecoverOptions(items=200)).trained_tokens
    """
    resolved = resolved_tasks(tasks)
    source, chat, folder = settings(parent), common_chat(resolved), Path(out)
    # Before a bar is shown: an error is all a mistake prints.
    check_new_folder(folder)
    recovery.check_pair(str(pruned), source.model, source.revision, chat)
    config = recovery.RecoverConfig(
        items=options.items,
        max_new_tokens=options.max_new_tokens,
        chat=chat,
        data_dir=options.data_dir,
        revision=source.revision,
        dtype=source.dtype,
        device=source.device,
        command=command,
    )
    with Bar(_STAGES) as bar:
        before: dict[str, float] = {}

        def on_progress(stage: str, done: int, total: int) -> None:
            share = done / total
            bar.name(stage)
            bar.advance(share - before.get(stage, 0.0))
            before[stage] = share

        results = recovery.recover(str(pruned), source.model, folder, resolved, options.finetune, config, on_progress)
        return RecoverResults(**results)
