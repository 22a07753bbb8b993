"""The `report` command: the HTML report of a run folder."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from layerlimits.cli.options import (
    Json,
)
from layerlimits.cli.printing import show_json
from layerlimits.errors import printable


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders of studies; several are compared.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Output HTML file; default: report.html in the run folder, of several runs comparison.html."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a finished or unfinished study from its run folder, or one that compares several studies."""
    from layerlimits import api

    stream = sys.stderr if as_json else sys.stdout
    if len(runs) > 1:
        page = out or Path("comparison.html")
        compared = api.write_comparison(runs, page)
        print(printable(f"report: {page}"), file=stream)
        if as_json:
            print(json.dumps({run: results.to_json() for run, results in compared.items()}, indent=1))
        return
    results = api.write_report(runs[0], out)
    print(printable(f"report: {out or api.report_file(runs[0])}"), file=stream)
    if as_json:
        show_json(results)
