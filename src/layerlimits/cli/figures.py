"""The `figures` command: charts and tables of a run folder as files for papers."""

from pathlib import Path
from typing import Annotated

import typer

from layerlimits.errors import UserError, printable


def figures(
    run: Annotated[Path, typer.Argument(help="Run folder of a study.")],
    out: Annotated[Path | None, typer.Option(help="Output folder for the files; new or empty.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the main tables in Markdown.")] = False,
) -> None:
    """Write each chart as SVG, PDF and PNG, and each table as LaTeX, Markdown and CSV."""
    from layerlimits import api

    if out is None and not markdown:
        raise UserError("there is nothing to do", "give an output folder (--out), or print tables (--markdown)")
    if markdown:
        print("\n".join(map(printable, api.markdown_tables(run).splitlines())))
    if out is not None:
        files = api.write_figures(run, out)
        print(printable(f"figures: {len(files)} files in {out}"))
