"""The `evaluate` command: scores of a model."""

from typing import TYPE_CHECKING

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
    Whole,
)
from layerlimits.cli.parse import chat_options, task_list
from layerlimits.cli.printing import (
    counted,
    interval,
    say,
    show,
    show_chat,
    show_json,
    show_texts,
    show_warnings,
    table,
)

if TYPE_CHECKING:
    from layerlimits.results.document import EvaluateResults
    from layerlimits.results.rows import TaskScore


def evaluate(
    model: Model,
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
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Evaluate a model on tasks, with 95% confidence intervals."""
    from layerlimits import api

    chosen = task_list(tasks, protocol, shots, chat)
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
    results = api.evaluate(api.ModelOptions(model, revision, dtype, device), chosen, options, out)
    show_json(results) if as_json else show_scores(results)


def _outcomes(row: "TaskScore") -> str:
    """The number of responses by outcome, and of those that reached the token limit."""
    thinking = f", {row.truncated_thinking} while thinking" if row.truncated_thinking else ""
    limited = f"; {row.truncated} at the token limit{thinking}" if row.truncated else ""
    return counted(row.outcomes) + limited


def show_scores(results: "EvaluateResults") -> None:
    """Print the scores as a table."""
    columns = ("task", "score", "interval", "strict", "n", "metric", "outcomes")
    scores = table(
        f"{results.model}: scores with 95% confidence intervals",
        columns,
        left=("task", "metric", "outcomes"),
        whole=("task", "score", "n"),
    )
    for row in results.scores:
        score, strict = row.score, f"{row.strict.estimate:.3f}" if row.strict else "-"
        metric = row.metric + "".join(f", {name} {value.estimate:.3f}" for name, value in row.measures.items())
        cells = (f"{score.estimate:.3f}", interval(score), strict, str(score.n), metric, _outcomes(row))
        scores.add_row(row.name, *cells)
        for part, value in row.sets.items():
            scores.add_row(f"  {part}", f"{value.estimate:.3f}", interval(value), "", str(value.n))
    if results.scores:
        show(scores)
    show_texts(results.texts)
    for comparison in results.protocols:
        if only := comparison.recognition_only:
            say(
                f"{comparison.task}: {only.estimate:.1%} ({only.low:.1%} to {only.high:.1%}) of {only.n} items are "
                "correct by likelihood and wrong in free generation"
            )
    show_chat(results.chat)
    show_warnings(results.warnings)
