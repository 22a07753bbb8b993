"""The `sweep` command: scores with one layer skipped at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from layerlimits.cli.options import (
    BatchSize,
    Chat,
    ChatArgs,
    DataDir,
    Device,
    Difference,
    Dtype,
    Engine,
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
    System,
    Tasks,
    Temperature,
    TopK,
    TopP,
    UnsafeCode,
)
from layerlimits.cli.parse import chat_options, task_list
from layerlimits.cli.parse import layers as layer_numbers
from layerlimits.cli.printing import say, show, show_chat, show_json, show_texts, show_warnings, table

if TYPE_CHECKING:
    from layerlimits.results.document import SweepResults
    from layerlimits.results.rows import LayerComparison, TaskScore


def sweep(
    model: Model,
    tasks: Tasks = None,
    layers: Annotated[
        str | None, typer.Option(help="Layers to skip, one at a time, such as 3,8-12; default: every layer.")
    ] = None,
    limit: Limit = 100,
    data_dir: DataDir = None,
    protocol: Protocols = None,
    shots: Shots = None,
    chat: Chat = None,
    chat_args: ChatArgs = None,
    system: System = None,
    samples: Samples = 1,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    top_k: TopK = 0,
    max_new_tokens: MaxNewTokens = None,
    difference: Difference = 0.05,
    unsafe_code: UnsafeCode = False,
    seed: Seed = 0,
    out: RunOut = None,
    engine: Engine = "sweep",
    batch_size: BatchSize = 64,
    max_rows: MaxRows = None,
    revision: Revision = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Evaluate every task with one layer skipped at a time."""
    from layerlimits import api

    chosen = task_list(tasks, protocol, shots, chat)
    options = api.EvalOptions(
        limit=limit,
        data_dir=data_dir,
        decoding=api.Decoding(temperature, top_p, top_k, seed, samples, max_new_tokens),
        unsafe=unsafe_code,
        difference=difference,
        engine=engine,
        batch_size=batch_size,
        template=chat_options(system, chat_args),
        max_rows=max_rows,
    )
    source = api.ModelOptions(model, revision, dtype, device)
    results = api.sweep(source, chosen, options, out, None if layers is None else layer_numbers(layers))
    show_json(results) if as_json else show_sweep(results)


def show_sweep(results: "SweepResults") -> None:
    """Print retention by layer and task as a table."""
    title = f"{results.model}: retention with one layer skipped (score / unpruned score)"
    retention = table(title, ("layer", *(score.name for score in results.base)))
    for layer, rows in results.by_layer().items():
        retention.add_row(str(layer), *(_cell(row.comparison) for row in rows))
    if results.base:
        show(retention)
        say("* significantly different from the unpruned model (McNemar's exact test, 5% level, Holm-corrected)")
    for score in results.base:
        _say_truncated(score, [row.comparison for row in results.sweep if row.score.name == score.name])
    show_texts(results.texts)
    show_chat(results.chat)
    show_warnings(results.warnings)


def _say_truncated(base: "TaskScore", rows: "Sequence[LayerComparison]") -> None:
    """Print the number of responses that reached the token limit, if any did."""
    counts = [row.truncation.other for row in rows if row.truncation]
    if counts and (base.truncated or max(counts)):
        responses = base.score.n * base.draws
        shown = f"{base.truncated} of {responses} responses unpruned, {min(counts)} to {max(counts)} without a layer"
        say(f"{base.name}: at the token limit {shown}")


def _cell(row: "LayerComparison") -> str:
    if row.retention is None:
        return "-"
    return f"{row.retention.estimate:.2f}{'*' if row.test and row.test.significant else ''}"
