"""The `verify` and `merge` commands: whether the record of a run is intact, and one run folder from several."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from layerlimits.cli.options import Json
from layerlimits.cli.printing import say, show_json

if TYPE_CHECKING:
    from layerlimits.results.record import VerifyResults


def verify(run: Annotated[Path, typer.Argument(help="Run folder.")], as_json: Json = False) -> None:
    """Recompute the hashes of a run folder: status 0 if it is sound, 1 if damaged, 2 if it is not a run folder."""
    from layerlimits import api

    results = api.verify_run(run)
    show_json(results) if as_json else _show(results)
    if not results.sound:
        raise typer.Exit(1)


def merge(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of the same study; they are not changed.")],
    out: Annotated[Path, typer.Option(help="New run folder; must not exist, or must be empty.")],
    as_json: Json = False,
) -> None:
    """Merge run folders of the same study into a new one. Damaged rows are left out."""
    from layerlimits import api

    results = api.merge_runs(runs, out)
    if as_json:
        show_json(results)
        return
    for source, added in zip(results.sources, results.added, strict=True):
        say(f"{source}: {added:,} responses added")
    if results.conflicts:
        say(f"{results.conflicts:,} responses differ between the folders; those of the first folder were kept")
    if results.dropped:
        say(f"{results.dropped:,} damaged rows were left out")
    say(f"{results.run}: {results.responses:,} responses of {results.model}")
    say(f"To continue, repeat the study's command with --out {results.run}; it computes what is missing.")


def _show(results: "VerifyResults") -> None:
    rows = ", ".join(f"{count:,} {table}" for table, count in results.rows.items() if count)
    for note in results.notes:
        say(f"note: {note}")
    if results.sound:
        say(f"{results.run} is sound: {rows} (schema {results.schema})")
        return
    say(f"{results.run} is damaged:")
    for damage in results.damages:
        example = f", such as {damage.example}" if damage.example else ""
        say(f"  {damage.table}: {damage.count:,} {damage.problem}{example}")
    say(f"Sound and readable: {rows or 'nothing'}.")
    if results.rows.get("responses"):
        say(f"  fix: `layerlimits merge {results.run} --out NEW` keeps these rows in a new folder; the study's command")
        say("  with --out NEW then computes what is missing")
    else:
        say("  fix: restore the folder from a copy, or start the study again in another one")
