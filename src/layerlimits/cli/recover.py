"""`recover`: a pruned model finetuned on the unpruned model's answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from layerlimits.cli.options import (
    Chat,
    DataDir,
    Device,
    Dtype,
    Json,
    Protocols,
    Seed,
    Shots,
    Tasks,
    command,
)
from layerlimits.cli.parse import protocol_names, words
from layerlimits.cli.printing import show_json

if TYPE_CHECKING:
    from layerlimits.results.document import RecoverResults


def recover(
    pruned: Annotated[str, typer.Argument(help="The pruned model's folder.")],
    parent: Annotated[str, typer.Option(help="The unpruned model: a folder, a hub id, or `reference`.")],
    out: Annotated[Path, typer.Option(help="Folder of the finetuned checkpoint; must not exist or be empty.")],
    kind: Annotated[str, typer.Option(help="full or lora.")] = "full",
    tasks: Tasks = "reference",
    items: Annotated[int, typer.Option(help="Training prompts that the unpruned model answers.", min=1)] = 1000,
    epochs: Annotated[int, typer.Option(help="How often the answers are read.", min=1)] = 1,
    data_dir: DataDir = None,
    protocol: Protocols = None,
    shots: Shots = None,
    chat: Chat = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the parent's hub id.")] = None,
    seed: Seed = 0,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Finetune a pruned model on the unpruned model's own answers."""
    from layerlimits import api

    options = api.RecoverOptions(
        items=items,
        data_dir=data_dir,
        finetune=api.FinetuneConfig(kind=cast(Literal["full", "lora"], kind), epochs=epochs, seed=seed),
    )
    chosen = api.get_tasks(*words(tasks), protocols=protocol_names(protocol), shots=shots, chat=chat)
    source = api.ModelOptions(parent, revision, dtype, device)
    results = api.recover(pruned, source, out, chosen, options, command=command())
    show_json(results) if as_json else show_recovered(results)


def show_recovered(results: "RecoverResults") -> None:
    """One line for people."""
    print(
        f"{results.model}: {results.pruned} finetuned on {results.examples} answers of {results.parent} "
        f"({results.trained_tokens:,} answer tokens, {results.dropped} dropped, {results.seconds:.0f} s)"
    )
    if results.not_adapted:
        print(f"LoRA adapted {', '.join(results.adapted)}; not {', '.join(results.not_adapted)}")
