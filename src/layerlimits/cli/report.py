"""The `report` command: the HTML report of a run folder."""

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
    run: Annotated[Path, typer.Argument(help="Run folder of a study.")],
    out: Annotated[Path | None, typer.Option(help="Output HTML file; default: report.html in the run folder.")] = None,
    as_json: Json = False,
) -> None:
    """Write the report of a finished or unfinished study from its run folder."""
    from layerlimits import api

    results = api.write_report(run, out)
    print(printable(f"report: {out or api.report_file(run)}"), file=sys.stderr if as_json else sys.stdout)
    if as_json:
        show_json(results)
