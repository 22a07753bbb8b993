"""`rank`, `prune` and `methods`."""

from pathlib import Path
from typing import Annotated

import typer

from layerlimits.cli.options import (
    BatchSize,
    Calibration,
    DataDir,
    Device,
    Dtype,
    Json,
    MaxRows,
    Model,
    Protect,
    Revision,
    RunOut,
    Seed,
    Tasks,
    command,
    tell,
)


def rank(
    model: Model,
    method: Annotated[
        str,
        typer.Option(
            help="A method, several separated by commas, or all; with options as magnitude:p=2; or a method's file.",
            show_default=False,
        ),
    ],
    layers: Annotated[
        int | None, typer.Option(help="Layers to go: greedy methods choose a quarter if not given, angular needs it.")
    ] = None,
    protect: Protect = None,
    tasks: Tasks = "word_problems,functions,summaries",
    items: Annotated[int, typer.Option(help="Select items a task, or calibration texts.", min=1)] = 32,
    data_dir: DataDir = None,
    calibration: Calibration = None,
    seed: Seed = 0,
    out: RunOut = None,
    batch_size: BatchSize = 64,
    max_rows: MaxRows = None,
    revision: Revision = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """The order in which a method would remove layers."""
    from layerlimits.commands import rank
    from layerlimits.commands.choice import Choice
    from layerlimits.commands.opened import Opened

    opened = Opened(model, revision, dtype, device, out, batch_size, seed, max_rows)
    results = rank.rank(opened, Choice(method, layers, protect, tasks, items, calibration, seed, data_dir))
    tell(results) if as_json else rank.show(results)


def prune(
    model: Model,
    out: Annotated[Path, typer.Option(help="Folder of the pruned checkpoint; must not exist or be empty.")],
    method: Annotated[str | None, typer.Option(help="Method that chooses the layers, or the path of its file.")] = None,
    layers: Annotated[int | None, typer.Option(help="How many layers to remove.")] = None,
    ratio: Annotated[float | None, typer.Option(help="Which share of the layers to remove.")] = None,
    remove: Annotated[str | None, typer.Option(help="The very layers to remove, such as 4,5,11-12.")] = None,
    replacement: Annotated[
        str | None, typer.Option(help="What fills the gap: none, laco, linear, streamline or compensate.")
    ] = None,
    protect: Protect = None,
    tasks: Tasks = "word_problems,functions,summaries",
    items: Annotated[int, typer.Option(help="Select items a task, or calibration texts.", min=1)] = 32,
    data_dir: DataDir = None,
    calibration: Calibration = None,
    seed: Seed = 0,
    batch_size: BatchSize = 64,
    max_rows: MaxRows = None,
    revision: Revision = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Write a checkpoint without some layers that stock transformers loads."""
    from layerlimits.commands import prune
    from layerlimits.commands.choice import Choice
    from layerlimits.commands.opened import Opened

    removal = prune.Removal(method, layers, ratio, remove, replacement)
    choice = Choice(method or "listed", None, protect, tasks, items, calibration, seed, data_dir)
    opened = Opened(model, revision, dtype, device, None, batch_size, seed, max_rows)
    results = prune.prune(opened, removal, choice, out, command())
    tell(results) if as_json else prune.show(results)


def methods(as_json: Json = False) -> None:
    """The methods that choose layers and the replacements that fill the gap, with their sources and costs."""
    from layerlimits.commands import catalogue

    results = catalogue.catalogue()
    tell(results) if as_json else catalogue.show(results)
