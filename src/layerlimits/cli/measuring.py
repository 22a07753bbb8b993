"""`sweep`, `evaluate` and `score`."""

from pathlib import Path
from typing import Annotated

import typer

from layerlimits.cli.options import (
    BatchSize,
    Chat,
    DataDir,
    Device,
    Difference,
    Dtype,
    Json,
    Limit,
    MaxNewTokens,
    MaxRows,
    Model,
    Protocols,
    Revision,
    RunOut,
    Samples,
    Seed,
    Shots,
    Tasks,
    Temperature,
    TopK,
    TopP,
    UnsafeCode,
    tell,
)


def sweep(
    model: Model,
    tasks: Tasks = "reference",
    limit: Limit = 100,
    data_dir: DataDir = None,
    protocol: Protocols = None,
    shots: Shots = None,
    chat: Chat = None,
    samples: Samples = 1,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    top_k: TopK = 0,
    max_new_tokens: MaxNewTokens = None,
    difference: Difference = 0.05,
    unsafe_code: UnsafeCode = False,
    seed: Seed = 0,
    out: RunOut = None,
    batch_size: BatchSize = 64,
    max_rows: MaxRows = None,
    revision: Revision = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Skip one layer at a time and measure every task."""
    from layerlimits.commands import measure
    from layerlimits.commands.asking import Asking
    from layerlimits.commands.opened import Opened
    from layerlimits.types import Decoding

    decoding = Decoding(temperature, top_p, top_k, seed, samples, max_new_tokens)
    asking = Asking(tasks, limit, data_dir, protocol, shots, chat, decoding, unsafe_code, difference)
    opened = Opened(model, revision, dtype, device, out, batch_size, seed, max_rows)
    results = measure.sweep(opened, asking)
    tell(results) if as_json else measure.show_sweep(results)


def evaluate(
    model: Model,
    tasks: Tasks = "reference",
    limit: Limit = 100,
    data_dir: DataDir = None,
    protocol: Protocols = None,
    shots: Shots = None,
    chat: Chat = None,
    samples: Samples = 1,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    top_k: TopK = 0,
    max_new_tokens: MaxNewTokens = None,
    difference: Difference = 0.05,
    unsafe_code: UnsafeCode = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="The whole test set, as published, also items that may choose layers.")
    ] = False,
    seed: Seed = 0,
    out: RunOut = None,
    batch_size: BatchSize = 64,
    revision: Revision = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Scores of a model on tasks, with 95% intervals."""
    from layerlimits.commands import measure
    from layerlimits.commands.asking import Asking
    from layerlimits.commands.opened import Opened
    from layerlimits.types import Decoding

    decoding = Decoding(temperature, top_p, top_k, seed, samples, max_new_tokens)
    asking = Asking(tasks, limit, data_dir, protocol, shots, chat, decoding, unsafe_code, difference, whole)
    opened = Opened(model, revision, dtype, device, out, batch_size, seed)
    results = measure.evaluate(opened, asking)
    tell(results) if as_json else measure.show_scores(results)


def score(
    task: Annotated[str, typer.Argument(help="A benchmark, such as gsm8k.", show_default=False)],
    responses: Annotated[
        Path, typer.Argument(help='JSON lines {"index", "response"}; index: line of the data file, from 0.')
    ],
    data_dir: DataDir = None,
    unsafe_code: UnsafeCode = False,
    as_json: Json = False,
) -> None:
    """Score answers that something else wrote, on a benchmark's whole test set."""
    from layerlimits.commands import score

    results = score.score(task, responses, data_dir, unsafe=unsafe_code)
    tell(results) if as_json else score.show(results)
