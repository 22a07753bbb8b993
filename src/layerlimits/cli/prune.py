"""The `prune` command: write a checkpoint without some layers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    PushToHub,
    Revision,
    Seed,
    SelectTasks,
    command,
)
from layerlimits.cli.parse import layers as layer_numbers
from layerlimits.cli.parse import words
from layerlimits.cli.printing import say, show_json, show_warnings, upload

if TYPE_CHECKING:
    from layerlimits.results.document import PruneResults


def prune(
    model: Model,
    out: Annotated[
        Path, typer.Option(help="Output folder for the pruned checkpoint; must not exist, or must be empty.")
    ],
    method: Annotated[
        str | None, typer.Option(help="Method that selects the layers: a name, or the path of a Python file.")
    ] = None,
    layers: Annotated[int | None, typer.Option(help="Number of layers to remove.")] = None,
    ratio: Annotated[float | None, typer.Option(help="Fraction of the layers to remove, such as 0.25.")] = None,
    remove: Annotated[str | None, typer.Option(help="Indices of the layers to remove, such as 4,5,11-12.")] = None,
    replacement: Annotated[
        str | None, typer.Option(help="Replacement for the removed layers: none, laco, linear, streamline, compensate.")
    ] = None,
    protect: Protect = None,
    tasks: SelectTasks = None,
    items: Annotated[
        int, typer.Option(help="Number of selection items per task, or of calibration texts.", min=1)
    ] = 32,
    data_dir: DataDir = None,
    calibration: Calibration = None,
    seed: Seed = 0,
    batch_size: BatchSize = 64,
    max_rows: MaxRows = None,
    revision: Revision = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    push_to_hub: PushToHub = None,
    as_json: Json = False,
) -> None:
    """Remove layers and write a checkpoint that loads in unmodified transformers."""
    from layerlimits import api
    from layerlimits.hub import check_repository

    if push_to_hub is not None:
        # Checked before hours of work.
        check_repository(push_to_hub)

    options = api.PruneOptions(
        method=method,
        layers=layers,
        ratio=ratio,
        remove=None if remove is None else layer_numbers(remove),
        replacement=replacement,
    )
    rank_options = api.RankOptions(
        protect=None if protect is None else layer_numbers(protect),
        tasks=None if tasks is None else words(tasks),
        items=items,
        calibration=calibration,
        seed=seed,
        data_dir=data_dir,
        batch_size=batch_size,
        max_rows=max_rows,
    )
    source = api.ModelOptions(model, revision, dtype, device)
    results = api.prune(source, out, options, rank_options, command=command())
    show_json(results) if as_json else show_checkpoint(results)
    if push_to_hub is not None:
        upload(out, push_to_hub, as_json=as_json)


def show_checkpoint(results: "PruneResults") -> None:
    """Print one line about the written checkpoint."""
    removed = ", ".join(map(str, results.removed))
    noun = "layer" if len(results.removed) == 1 else "layers"
    chosen = "" if results.method == "listed" else f" by {results.method}"
    filled = "" if results.replacement == "none" else f"; replacement: {results.replacement}"
    say(f"{results.model}: {results.layers} layers; removed {noun} {removed} of {results.base}{chosen}{filled}")
    show_warnings(results.warnings)
