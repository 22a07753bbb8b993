"""The `export` and `import` commands: carry a run folder to another machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from layerlimits.cli.options import Json
from layerlimits.cli.printing import say, show_json

if TYPE_CHECKING:
    from layerlimits.results.carried import CarryResults


def export_run(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Output file; default: the run folder's name with .layerlimits.gz, in the current folder."),
    ] = None,
    parquet: Annotated[
        bool,
        typer.Option("--parquet", help="Write a folder of Parquet files, one per table, with texts of items."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a run folder to one file without texts of benchmark items, or to Parquet files; both without weights."""
    from layerlimits import api

    results = api.export_run(run, out, parquet=parquet)
    if as_json:
        show_json(results)
        return
    say(f"{results.run}: {_contents(results)} exported to {results.file}")
    _show_left_out(results)


def import_run(
    file: Annotated[Path, typer.Argument(help="File or folder that `layerlimits export` wrote.")],
    out: Annotated[Path, typer.Option(help="Run folder; must not exist, or must be empty.")],
    as_json: Json = False,
) -> None:
    """Read an exported file into a new run folder, on which the same study resumes."""
    from layerlimits import api

    results = api.import_run(file, out)
    if as_json:
        show_json(results)
        return
    say(f"{results.run}: {_contents(results)} imported from {results.file}")
    _show_left_out(results)
    say(f"To resume, repeat the command that started the run, with --out {results.run}.")


def _contents(results: "CarryResults") -> str:
    return f"{results.responses:,} responses of {results.models} models, based on {results.model},"


def _show_left_out(results: "CarryResults") -> None:
    if not results.whole:
        say("Texts of benchmark items are not included; resuming adds them.")
    if results.without_weights:
        say(
            f"Weights of finetuned models are not included ({', '.join(results.without_weights)}); models whose "
            "evaluation is incomplete are finetuned again."
        )
