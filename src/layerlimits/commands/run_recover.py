"""`recover`: the body of the command."""

from pathlib import Path
from typing import Any, Literal, cast

from layerlimits.commands.flags import words
from layerlimits.paths import check_new_folder, given_path
from layerlimits.progress import Bar
from layerlimits.recovery.finetune import Finetune
from layerlimits.recovery.recover import check_pair, recover
from layerlimits.tasks import choose

# The stages of recovery weigh about the same on the bar; each counts from 0 to 1.
_STAGES = 2.0


def run(
    pruned: str,
    parent: str,
    out: Path,
    kind: str,
    tasks: str,
    items: int,
    epochs: int,
    data_dir: Path | None,
    revision: str | None,
    seed: int,
    dtype: str,
    device: str,
    command: str,
) -> dict[str, Any]:
    """Check, answer, finetune, save; the result says where and on how much."""
    settings = Finetune(kind=cast(Literal["full", "lora"], kind), epochs=epochs, seed=seed)
    chosen = choose(words(tasks))
    # Before a bar is shown: an error is all a mistake prints.
    check_new_folder(out)
    if data_dir:
        given_path(data_dir, "--data-dir")
    check_pair(pruned, parent, revision)
    with Bar(_STAGES) as bar:
        before: dict[str, float] = {}

        def progress(stage: str, done: int, total: int) -> None:
            share = done / total
            bar.name(stage)
            bar.advance(share - before.get(stage, 0.0))
            before[stage] = share

        return recover(
            pruned,
            parent,
            out,
            tasks=chosen,
            limit=items,
            settings=settings,
            data_dir=data_dir,
            revision=revision,
            dtype=dtype,
            device=device,
            command=command,
            progress=progress,
        )


def show(results: dict[str, Any]) -> None:
    """One line for people."""
    print(
        f"{results['model']}: {results['pruned']} finetuned on {results['examples']} answers of {results['parent']} "
        f"({results['trained_tokens']:,} answer tokens, {results['dropped']} dropped, {results['seconds']:.0f} s)"
    )
