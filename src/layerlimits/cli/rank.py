"""The `rank` command: the order in which methods remove layers."""

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.table import Table

from layerlimits.cli.options import (
    BatchSize,
    Calibration,
    ChatArgs,
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
    SelectTasks,
    System,
)
from layerlimits.cli.parse import chat_options, words
from layerlimits.cli.parse import layers as layer_numbers
from layerlimits.cli.printing import show, show_json, show_warnings, table
from layerlimits.results.rankings import RankingsComparison, RankResults


def rank(
    model: Model,
    method: Annotated[
        str,
        typer.Option(
            help="Comma-separated methods, or all. A method is a name, with options as in magnitude:p=2, or the path "
            "of a Python file.",
            show_default=False,
        ),
    ],
    layers: Annotated[
        int | None,
        typer.Option(
            help="Number of layers to remove. Required by angular; default for greedy methods: a quarter of the layers."
        ),
    ] = None,
    protect: Protect = None,
    tasks: SelectTasks = None,
    items: Annotated[
        int, typer.Option(help="Number of selection items per task, or of calibration texts.", min=1)
    ] = 32,
    data_dir: DataDir = None,
    calibration: Calibration = None,
    chat_args: ChatArgs = None,
    system: System = None,
    seed: Seed = 0,
    out: RunOut = None,
    batch_size: BatchSize = 64,
    max_rows: MaxRows = None,
    revision: Revision = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Rank layers by the order in which a method removes them."""
    from layerlimits import api

    options = api.RankOptions(
        layers=layers,
        protect=None if protect is None else layer_numbers(protect),
        tasks=None if tasks is None else words(tasks),
        items=items,
        calibration=calibration,
        seed=seed,
        data_dir=data_dir,
        batch_size=batch_size,
        max_rows=max_rows,
        template=chat_options(system, chat_args),
    )
    source, methods = api.ModelOptions(model, revision, dtype, device), words(method)
    if methods != ("all",) and len(set(methods)) == 1:
        ranking = api.rank(source, methods[0], options, out)
        show_json(ranking) if as_json else show_ranking(ranking)
        return
    comparison = api.compare_methods(source, None if methods == ("all",) else methods, options, out)
    show_json(comparison) if as_json else show_rankings(comparison)


def show_ranking(results: RankResults) -> None:
    """Print a table with one row per layer; the first layer to remove comes first."""
    ranking = results.ranking
    order = table(f"{results.model}: removal order by {ranking.method}", ("rank", "layer", "score"))
    for place, layer in enumerate(ranking.order, 1):
        score = ranking.scores[layer]
        missing = "inf" if layer in ranking.infinite else "-"
        order.add_row(str(place), str(layer), missing if score is None else f"{score:.4g}")
    show(order)
    show_warnings(results.warnings)


def show_rankings(results: RankingsComparison) -> None:
    """Print the removal orders and the agreement between methods as tables."""
    title = f"{results.model}: removal orders, compared on the first {results.n} of {results.layers} layers"
    orders = table(title, ("method", "order", "mean overlap with the others"), left=("method", "order"))
    for method, ranking in results.rankings.items():
        shared = results.overlap[method].values()
        mean = f"{sum(shared) / len(shared):.0%}" if shared else "-"
        orders.add_row(method, ", ".join(map(str, ranking.order)), mean)
    show(orders)
    show(_square(results.kendall_tau, "Kendall's tau between the scores", "{:.2f}"))
    show(_square(results.overlap, f"Overlap between the first {results.n} layers", "{:.0%}"))
    for method, reason in results.failed.items():
        show(f"{method} cannot rank this model: {reason}")
    show_warnings(results.warnings)


def _square(values: Mapping[str, Mapping[str, float | None]], title: str, form: str) -> Table:
    """A table of methods against methods; columns are numbered because the names would not fit."""
    numbers = [str(number) for number in range(1, len(values) + 1)]
    square = table(title, ("", *numbers), left=("",))
    for number, (method, row) in zip(numbers, values.items(), strict=True):
        cells = [row.get(other) for other in values]
        square.add_row(f"{number} {method}", *("" if value is None else form.format(value) for value in cells))
    return square
