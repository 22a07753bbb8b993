"""`recover`: finetuning a pruned model on the unpruned model's own answers."""

from pathlib import Path

from layerlimits.api.options import ModelOptions, RecoverOptions
from layerlimits.paths import check_new_folder
from layerlimits.progress import Bar
from layerlimits.recovery import recover as recovery
from layerlimits.recovery.finetune import FinetuneConfig
from layerlimits.results.document import RecoverResults
from layerlimits.tasks import choose

# The stages of recovery weigh about the same on the bar; each counts from 0 to 1.
_STAGES = 2.0


def recover(
    pruned: str, parent: ModelOptions, out: Path, options: RecoverOptions | None = None, command: str = ""
) -> RecoverResults:
    """Finetune a pruned model's folder on its parent's answers; a killed call resumes.

    Args:
        pruned: the pruned model's folder.
        parent: the unpruned model; its number type and device also hold for the pruned one.
        out: folder of the finetuned checkpoint; must not exist, or be empty.
        command: named in the checkpoint's recipe.
    Raises:
        UserError: `out` is taken, the models do not belong together, or training items leak; see `recovery.recover`.
    """
    options = options or RecoverOptions()
    settings = FinetuneConfig(kind=options.kind, epochs=options.epochs, seed=options.seed)
    tasks = choose(options.tasks, options.protocols, options.shots, options.chat)
    # Before a bar is shown: an error is all a mistake prints.
    check_new_folder(out)
    recovery.check_pair(pruned, parent.model, parent.revision, options.chat)
    with Bar(_STAGES) as bar:
        before: dict[str, float] = {}

        def on_progress(stage: str, done: int, total: int) -> None:
            share = done / total
            bar.name(stage)
            bar.advance(share - before.get(stage, 0.0))
            before[stage] = share

        results = recovery.recover(
            pruned,
            parent.model,
            out,
            tasks,
            settings,
            recovery.RecoverConfig(
                items=options.items,
                chat=options.chat,
                data_dir=options.data_dir,
                revision=parent.revision,
                dtype=parent.dtype,
                device=parent.device,
                command=command,
            ),
            on_progress,
        )
        return RecoverResults(**results)
