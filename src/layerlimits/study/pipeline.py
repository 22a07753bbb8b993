"""The whole experiment: base, sweep, rank, prune, recover, time. Each stage skips what the run folder already holds."""

from pathlib import Path

from layerlimits.progress import Bar
from layerlimits.report.html import check_report_file, write
from layerlimits.results.document import StudyResults
from layerlimits.results.study import study_results
from layerlimits.study import stages
from layerlimits.study.config import StudyConfig
from layerlimits.study.estimate import method_cost, training_cost, works
from layerlimits.study.preflight import check_study
from layerlimits.study.session import Run, open_run

REPORT = "report.html"


def study(config: StudyConfig, out: Path, command: str) -> StudyResults:
    """Run or resume a study in a run folder and write its report.

    Returns:
        The results, as in the report.
    Raises:
        UserError: settings that cannot work, or a folder that is not this study's.
    """
    check_study(config, out)
    # Before hours of work: its last step writes the report.
    check_report_file(out / REPORT)
    run = open_run(config, out, command)
    with run.store, Bar(_seconds(run), run.add_stage_time) as run.bar:
        _stages(run)
        results = study_results(run.store)
        write(results, out / REPORT)
    return results


def _seconds(run: Run) -> float:
    """Estimated seconds of all work; works counts what methods ask of tasks, so their passes come to it."""
    depth, cost, tokens = run.loaded.depth, run.cost, sum(map(len, run.calibration.ids))
    asked = sum(cost.work(work) for work in works(run.config, depth, run.items) if work.stage != "rank")
    ranked = sum(method_cost(run.config, method, depth, cost, tokens) for method in run.config.methods)
    return asked + ranked + training_cost(run.config, depth, cost, run.tasks)


def _stages(run: Run) -> None:
    with run.bar.stage("base"):
        stages.base(run)
    with run.bar.stage("sweep"):
        stages.sweep(run)
    with run.bar.stage("rank"):
        rankings = stages.rank(run)
    with run.bar.stage("prune"):
        stages.prune(run, rankings)
    with run.bar.stage("recover"):
        stages.recover(run, rankings)
    with run.bar.stage("speed"):
        stages.speed(run, rankings)
