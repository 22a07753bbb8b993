"""The `gate` command: an exit status that says whether a run has a model that keeps what is required."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from layerlimits.cli.options import Json, Require
from layerlimits.cli.printing import say, show_json

if TYPE_CHECKING:
    from layerlimits.results.gate import GateResults


def gate(
    run: Annotated[Path, typer.Argument(help="Run folder of a finished study.", show_default=False)],
    require: Require = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model that must keep them, such as task_score-3; default: any pruned or finetuned model."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check requirements on a run: status 0 if a model keeps them, 1 if none is shown to, 2 for invalid input."""
    from layerlimits import api

    results = api.gate(run, tuple(require or ()), model)
    show_json(results) if as_json else _show(results)
    if results.status:
        raise typer.Exit(results.status)


def _show(results: "GateResults") -> None:
    """Print a line per requirement, and the outcome."""
    for judgement in results.card.judgements:
        say(f"{judgement.verdict}: {judgement.requirement}: {results.model} {judgement.sentence}")
    say(results.choice)
    say(f"{'passed' if results.passed else 'not passed'}: {results.model}")
