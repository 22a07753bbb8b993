"""`study` and `report`."""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from layerlimits.errors import UserError
from layerlimits.paths import given_path
from layerlimits.study.config import StudyConfig, study_config


def run(
    preset: str,
    file: Path | None,
    out: Path | None,
    given: dict[str, Any],
    command: str,
    *,
    only_plan: bool,
    quiet: bool,
) -> dict[str, Any]:
    """Run the study, or only count what it would do.

    Raises:
        UserError: settings or a model that cannot work.
    """
    config = study_config(preset, file, **given)
    folder = out or Path("runs") / Path(config.model).name
    if only_plan:
        return _plan(config, folder, quiet=quiet)
    from layerlimits.study.pipeline import REPORT, study

    results = study(config, folder, command)
    if not quiet:
        Console().print(Panel(results["answer"], title="layerlimits"))
        print(f"report: {folder / REPORT}")
    return results


def _plan(config: StudyConfig, folder: Path, *, quiet: bool) -> dict[str, Any]:
    """What would run: a line a stage with responses and estimated minutes."""
    from layerlimits.study.preflight import check_study, estimate

    check_study(config, folder)
    rows = estimate(config)
    total = sum(row["seconds"] for row in rows)
    if not quiet:
        table = Table(title=f"{config.model}, preset {config.preset}, into {folder}")
        for column in ("stage", "models", "responses", "estimated minutes"):
            table.add_column(column, justify="left" if column == "stage" else "right")
        for row in rows:
            table.add_row(row["stage"], str(row["models"]), f"{row['responses']:,}", f"{row['seconds'] / 60:.1f}")
        Console().print(table)
        print(f"about {total / 60:.0f} minutes; nothing was run")
    return {"model": config.model, "preset": config.preset, "stages": rows, "seconds": total}


def report(folder: Path, out: Path | None, *, quiet: bool) -> dict[str, Any]:
    """Write the HTML of a run folder, from what it holds alone.

    Raises:
        UserError: no run in the folder.
    """
    from layerlimits.evaluation.store import Store
    from layerlimits.report.html import write
    from layerlimits.results.document import findings
    from layerlimits.study.pipeline import REPORT
    from layerlimits.study.session import RUN_FILE

    if not (given_path(folder, "the run folder") / RUN_FILE).exists():
        raise UserError(f"{folder} is no run folder: it has no {RUN_FILE}", "give the --out folder of a study")
    if out:
        given_path(out, "--out")
    with Store(folder) as store:
        results = findings(store)
    path = write(results, out or folder / REPORT)
    print(f"report: {path}", file=sys.stderr if quiet else sys.stdout)
    return results
