"""The `compare` command: two checkpoints on the same items."""

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
    Whole,
)
from layerlimits.cli.parse import chat_options, task_list
from layerlimits.cli.printing import interval, say, show, show_chat, show_json, show_texts, show_warnings, table

if TYPE_CHECKING:
    from layerlimits.results.pair import CompareResults


def compare(
    base: Annotated[str, typer.Argument(help="First model: local folder, Hub id, or `reference`.", show_default=False)],
    other: Annotated[
        str, typer.Argument(help="Second model, of any depth and origin, such as a pruned one.", show_default=False)
    ],
    tasks: Tasks = None,
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
    whole: Whole = False,
    seed: Seed = 0,
    out: RunOut = None,
    engine: Engine = "sweep",
    batch_size: BatchSize = 64,
    revision: Revision = None,
    other_revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the second model.")] = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Compare two checkpoints on the same items, with paired differences and tests."""
    from layerlimits import api

    options = api.EvalOptions(
        limit=limit,
        data_dir=data_dir,
        decoding=api.Decoding(temperature, top_p, top_k, seed, samples, max_new_tokens),
        unsafe=unsafe_code,
        difference=difference,
        whole=whole,
        engine=engine,
        batch_size=batch_size,
        template=chat_options(system, chat_args),
    )
    models = (api.ModelOptions(base, revision, dtype, device), api.ModelOptions(other, other_revision, dtype, device))
    results = api.compare(*models, task_list(tasks, protocol, shots, chat), options, out)
    show_json(results) if as_json else show_differences(results)


def show_differences(results: "CompareResults") -> None:
    """Print scores and differences as a table."""
    columns = ("task", "base", "other", "difference", "interval", "lost", "won", "p (Holm)", "n")
    rows = table(
        f"{results.other.name} (other) minus {results.base.name} (base), with 95% confidence intervals",
        columns,
        left=("task",),
        whole=("task", "difference"),
    )
    for row in results.tasks:
        test = row.test
        tested = (str(test.lost), str(test.won), f"{test.p_holm:.2g}") if test else ("-", "-", "-")
        scores = (f"{row.base.estimate:.3f}", f"{row.other.estimate:.3f}", f"{row.difference.estimate:+.3f}")
        rows.add_row(row.task, *scores, interval(row.difference), *tested, str(row.difference.n))
    if results.tasks:
        show(rows)
    for row in results.tasks:
        if row.truncation and (row.truncation.base or row.truncation.other):
            counts = f"{row.truncation.base} of base, {row.truncation.other} of other"
            say(f"{row.task}: responses at the token limit: {counts}")
    show_texts(results.texts)
    for kind, mean in results.classes.items():
        if len(mean.tasks) > 1:
            shown = f"{mean.difference.estimate:+.3f} ({interval(mean.difference)})"
            say(f"{kind}, mean over {len(mean.tasks)} tasks: {shown}")
    show_chat(results.chat)
    show_warnings(results.warnings)
