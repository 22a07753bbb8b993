"""The full experiment: base, sweep, rank, prune, recover, speed. Each stage skips what is already in the run folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.progress import Bar
from layerlimits.report.html import check_report_file, write
from layerlimits.results.document import StudyResults
from layerlimits.results.study import study_results
from layerlimits.study import stages
from layerlimits.study.config import StudyConfig
from layerlimits.study.estimate import total_cost
from layerlimits.study.preflight import check_study
from layerlimits.study.recovering import recover
from layerlimits.study.session import Run, open_run

REPORT = "report.html"


def study(config: StudyConfig, out: Path, command: str) -> StudyResults:
    """Run or resume a study in a run folder and write its report.

    A later stage that fails is skipped with a warning in the results, and the study continues.

    Args:
        config: The settings.
        out: The run folder.
        command: The command line, for the report.
    Returns:
        The results shown in the report.
    Raises:
        UserError: The settings are invalid, or the folder belongs to another study.
    """
    resolved = check_study(config, out)
    # Check now what would otherwise fail in the last step, after hours of work.
    check_report_file(out / REPORT)
    run = open_run(resolved, out, command)
    with run.store, Bar(total_cost(resolved, run.cost), run.add_stage_time) as run.bar:
        _stages(run)
        results = study_results(run.store)
        write(results, out / REPORT)
    return results


def _stages(run: Run) -> None:
    with run.bar.stage("base"):
        stages.base(run)
    with _skippable(run, "sweep"):
        stages.sweep(run)
    rankings: stages.Rankings = {}
    with _skippable(run, "rank"):
        rankings = stages.rank(run)
    with _skippable(run, "prune"):
        stages.prune(run, rankings)
    with _skippable(run, "recover"):
        recover(run)
    with _skippable(run, "speed"):
        stages.speed(run, rankings)


@contextmanager
def _skippable(run: Run, stage: str) -> Iterator[None]:
    """Run a stage that can be skipped without invalidating the results of the others."""
    with run.bar.stage(stage):
        try:
            yield
        except UserError as error:
            run.skip(f"stage {stage}", error.problem)
