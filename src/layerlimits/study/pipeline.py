"""The full experiment: base, sweep, rank, prune, diagnose, recover, speed.

Each stage skips what is already in the run folder.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layerlimits.errors import StorageError, UserError
from layerlimits.evaluation.lock import writing
from layerlimits.progress import Bar
from layerlimits.report.cards import write_cards
from layerlimits.report.html import check_report_file, write, write_results
from layerlimits.results.answer_book import answer_book
from layerlimits.results.document import StudyResults
from layerlimits.results.study import study_results
from layerlimits.study import stages
from layerlimits.study.alternatives import STAGE, measure_alternatives
from layerlimits.study.config import StudyConfig
from layerlimits.study.diagnosing import diagnose
from layerlimits.study.estimate import stage_costs
from layerlimits.study.manifest import check_run_folder
from layerlimits.study.preflight import check_study
from layerlimits.study.recovering import recover
from layerlimits.study.resuming import settings
from layerlimits.study.room import check_room
from layerlimits.study.session import Run, open_run

REPORT, RESULTS = "report.html", "results.json"


def study(config: StudyConfig, out: Path, command: str, began: float | None = None) -> StudyResults:
    """Run or resume a study in a run folder and write its report.

    A later stage that fails is skipped with a warning in the results, and the study continues.

    Args:
        config: The settings.
        out: The run folder.
        command: The command line, for the report.
        began: Time from which a budget counts, in seconds since the epoch; now if None.
    Returns:
        The results shown in the report.
    Raises:
        UserError: The settings are invalid, the folder belongs to another study or is in use by another process, or the
            model can do none of the tasks.
        StorageError: The disk is full, or the database of the run folder is damaged.
    """
    began = time.time() if began is None else began
    check_run_folder(out)
    with writing(out):
        return _study(config, out, command, began)


def _study(config: StudyConfig, out: Path, command: str, began: float) -> StudyResults:
    resolved = check_study(config, out)
    # Check now what would otherwise fail in the last step, after hours of work.
    check_report_file(out / REPORT)
    run = open_run(resolved, out, command, began)
    total = run.clock.left if run.clock else sum(stage_costs(resolved, run.cost).values())
    with run.store, Bar(max(total, 1.0), run.add_stage_time, pace=1.0) as run.bar:
        _stages(run)
        # Only a finished study has a verdict.
        run.artifacts.finished = settings(resolved)
        results = study_results(run.store)
        write(results, out / REPORT, answer_book(run.store))
        write_results(results, out / RESULTS)
        write_cards(results, out / "models")
    return results


def _stages(run: Run) -> None:
    with _stage(run, "base"):
        stages.base(run)
    with _skippable(run, "sweep"):
        stages.sweep(run)
    rankings: stages.Rankings = {}
    with _skippable(run, "rank"):
        rankings = stages.rank(run)
    with _skippable(run, "prune"):
        stages.prune(run, rankings)
    with _skippable(run, "diagnose"):
        diagnose(run)
    with _skippable(run, "recover"):
        recover(run)
    with _skippable(run, "speed"):
        stages.speed(run, rankings)
    if run.clock:
        with _skippable(run, "prune"):
            stages.use_rest(run)
    if run.config.quantized or run.config.versus:
        with run.bar.stage(STAGE):
            measure_alternatives(run)


@contextmanager
def _stage(run: Run, name: str) -> Iterator[None]:
    """Time a stage, and plan the rest of the bar anew when it ends."""
    check_room(run, name)
    with run.bar.stage(name):
        yield
    run.plan_bar(name)


@contextmanager
def _skippable(run: Run, stage: str) -> Iterator[None]:
    """Run a stage that can be skipped without invalidating the results of the others."""
    with _stage(run, stage):
        try:
            yield
        except StorageError:
            raise
        except UserError as error:
            run.skip(f"stage {stage}", error.problem)
