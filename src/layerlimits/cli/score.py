"""The `score` command: score responses generated elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from layerlimits.cli.options import (
    DataDir,
    Json,
    UnsafeCode,
)
from layerlimits.cli.printing import counted, show, show_json, table

if TYPE_CHECKING:
    from layerlimits.results.document import ScoreResults


def score(
    task: Annotated[str, typer.Argument(help="Benchmark, such as gsm8k.", show_default=False)],
    responses: Annotated[
        Path,
        typer.Argument(
            help='JSON Lines file of {"index", "response"} objects. index is the zero-based item index in the test set.'
        ),
    ],
    data_dir: DataDir = None,
    unsafe_code: UnsafeCode = False,
    as_json: Json = False,
) -> None:
    """Score responses generated elsewhere on a benchmark's full test set."""
    from layerlimits import api

    results = api.score(task, responses, data_dir, unsafe=unsafe_code)
    show_json(results) if as_json else show_score(results)


def show_score(results: "ScoreResults") -> None:
    """Print the score as a table with one row."""
    columns = ("score", "strict", "n", "of", "metric", "outcomes")
    scores = table(f"{results.task}, version {results.version}", columns, left=("metric", "outcomes"))
    strict = "-" if results.strict is None else f"{results.strict:.3f}"
    cells = (str(results.n), str(results.of), results.metric, counted(results.verdicts))
    scores.add_row(f"{results.score:.3f}", strict, *cells)
    show(scores)
