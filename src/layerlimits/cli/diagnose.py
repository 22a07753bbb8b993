"""The `diagnose` command: what exactly the models of a run have lost."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from layerlimits.cli.options import Json
from layerlimits.cli.parse import words
from layerlimits.cli.printing import say, show_json

if TYPE_CHECKING:
    from layerlimits.diagnostics import Finding
    from layerlimits.results.diagnose import DiagnoseResults

# Sentences printed per diagnostic; --json prints all.
_SHOWN = 8


def diagnose(
    run: Annotated[Path, typer.Argument(help="Run folder of a study, a sweep or an evaluation.")],
    only: Annotated[str, typer.Option(help="Diagnostics, comma-separated names or paths of files; default: all.")] = "",
    as_json: Json = False,
) -> None:
    """Say what exactly the pruned and finetuned models of a run have lost. No model is loaded."""
    from layerlimits import api

    results = api.diagnose(run, words(only))
    show_json(results) if as_json else _show(results)


def _show(results: "DiagnoseResults") -> None:
    """Print the main finding of each diagnostic and some of the others, in sentences."""
    for name in dict.fromkeys(row.diagnostic for row in results.findings):
        rows = [row for row in results.findings if row.diagnostic == name]
        first, *others = rows
        say(f"{name}: {first.sentence}")
        # Pruned and finetuned models first.
        measured = sorted((row for row in others if row.estimate is not None), key=_is_about_one_layer_or_none)
        for row in measured[:_SHOWN]:
            say(f"  {row.sentence}")
        if len(others) > _SHOWN:
            say(f"  The first of {len(others):,} findings; --only {name} --json prints all.")


def _is_about_one_layer_or_none(row: "Finding") -> bool:
    return row.model == "base" or row.model.startswith("without layer ")
