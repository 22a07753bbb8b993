"""`run_study` with its `plan`, and reading a run folder: `open_run` and `write_report`."""

from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.evaluation.store import Store
from layerlimits.paths import RUN_FILE, holds_run
from layerlimits.report.html import check_report_file, write
from layerlimits.results.document import PlanResults, StagePlan, StudyResults
from layerlimits.results.study import study_results
from layerlimits.study.config import StudyConfig
from layerlimits.study.pipeline import REPORT
from layerlimits.study.pipeline import study as run_pipeline
from layerlimits.study.preflight import check_study, estimate


def default_folder(config: StudyConfig) -> Path:
    """The run folder of a study that names none."""
    return Path("runs") / Path(config.model).name


def report_file(run: str | Path) -> Path:
    """The report in a run folder."""
    return Path(run) / REPORT


def run_study(
    config: StudyConfig, out: str | Path | None = None, *, command: str = "", began: float | None = None
) -> StudyResults:
    """Run or resume a whole study and write its report.

    Args:
        config: settings of the study.
        out: run folder; `default_folder` if None. If it holds this study already, only what is missing is run.
        command: recorded in the report.
        began: time from which a budget counts, in seconds since the epoch; now if None.
    Returns:
        The results, as in the report.
    Raises:
        UserError: settings or a model that cannot be used, or a folder that holds something else.

    Example:
        >>> results = run_study(StudyConfig(model="reference", tasks=("arithmetic",), limit=20), "runs/small")
        >>> print(results.answer)
    """
    return run_pipeline(config, _folder(config, out), command, began)


def plan(config: StudyConfig, out: str | Path | None = None) -> PlanResults:
    """What a study would do, stage by stage, and about how long it takes in seconds. Nothing is run.

    Args:
        config, out: as for `run_study`.
    Raises:
        UserError: as `run_study`.

    Example:
        >>> plan(StudyConfig(preset="standard")).to_frame()
    """
    study = check_study(config, _folder(config, out))
    rows, seconds = estimate(study)
    return PlanResults(config.model, config.preset, tuple(StagePlan(**row) for row in rows), seconds)


def open_run(run: str | Path) -> StudyResults:
    """The results of a study, finished or not, from its run folder alone. The model is not needed.

    Args:
        run: the run folder.
    Raises:
        UserError: no study in the folder, or nothing finished yet.

    Example:
        >>> open_run("runs/reference").to_frame()
    """
    folder = Path(run)
    check_run(folder)
    with Store(folder) as store:
        return study_results(store)


def _folder(config: StudyConfig, out: str | Path | None) -> Path:
    return Path(out) if out else default_folder(config)


def check_run(run: Path) -> None:
    """Check that a folder is a run folder.

    Raises:
        UserError: it has no database.
    """
    if not holds_run(run):
        raise UserError(f"{run} is no run folder: it has no {RUN_FILE}", "give the --out folder of a study")


def write_report(run: str | Path, out: str | Path | None = None) -> StudyResults:
    """Write the report of a study as one HTML page, from its run folder alone.

    Args:
        run: the run folder.
        out: the page; `report_file` if None.
    Raises:
        UserError: as `open_run`; or `out` is a folder, a file of a run, or a file that is no report.

    Example:
        >>> write_report("runs/reference", "report.html")
    """
    check_run(Path(run))
    # Reading a run takes seconds: what is known before is refused before.
    page = check_report_file(Path(out) if out else report_file(run))
    results = open_run(run)
    write(results, page)
    return results
