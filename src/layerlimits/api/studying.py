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


def report_file(run: Path) -> Path:
    """The report in a run folder."""
    return run / REPORT


def run_study(config: StudyConfig, out: Path | None = None, command: str = "") -> StudyResults:
    """Run or resume a whole study and write its report.

    Args:
        out: run folder; `default_folder` if None.
        command: named in the report.
    Raises:
        UserError: settings or a model that cannot work, or a folder that is not this study's.
    """
    return run_pipeline(config, out or default_folder(config), command)


def plan(config: StudyConfig, out: Path | None = None) -> PlanResults:
    """What a study would do, stage by stage, and about how long it takes; nothing is run.

    Raises:
        UserError: as `run_study`.
    """
    study = check_study(config, out or default_folder(config))
    stages = tuple(StagePlan(**row) for row in estimate(study))
    return PlanResults(config.model, config.preset, stages, sum(stage.seconds for stage in stages))


def open_run(run: Path) -> StudyResults:
    """The results of a study, finished or not, from its run folder alone.

    Raises:
        UserError: no study in the folder, or nothing finished yet.
    """
    _check_run(run)
    with Store(run) as store:
        return study_results(store)


def _check_run(run: Path) -> None:
    if not holds_run(run):
        raise UserError(f"{run} is no run folder: it has no {RUN_FILE}", "give the --out folder of a study")


def write_report(run: Path, out: Path | None = None) -> StudyResults:
    """Write the report of a study as one HTML page, from its run folder alone.

    Args:
        out: the page; `report_file` if None.
    Raises:
        UserError: as `open_run`; or `out` is a folder, a file of a run, or a file that is no report.
    """
    _check_run(run)
    # Reading a run takes seconds: what is known before is refused before.
    page = check_report_file(out or report_file(run))
    results = open_run(run)
    write(results, page)
    return results
