"""The whole experiment: base, sweep, rank, prune, recover, time. Each stage skips what the run folder already holds."""

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

    What turns out to be impossible only after the unpruned model has answered is skipped, with a warning in the
    results: the study goes on and ends with a report.

    Returns:
        The results, as in the report.
    Raises:
        UserError: settings that cannot work, or a folder that is not this study's.
    """
    resolved = check_study(config, out)
    # Before hours of work: its last step writes the report.
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
    """A stage without which the results of the others stand."""
    with run.bar.stage(stage):
        try:
            yield
        except UserError as error:
            run.skip(f"stage {stage}", error.problem)
