"""The whole experiment: base, sweep, rank, prune, recover, time. Each stage skips what the run folder already holds."""

from pathlib import Path
from typing import Any

from layerlimits import stages
from layerlimits.check import check_study
from layerlimits.config import StudyConfig
from layerlimits.findings import findings
from layerlimits.plan import training_cost, works
from layerlimits.progress import Bar
from layerlimits.report.html import write
from layerlimits.run import Run, open_run

REPORT = "report.html"


def study(config: StudyConfig, out: Path, command: str) -> dict[str, Any]:
    """Run or resume a study in a run folder and write its report.

    Returns:
        The results, as in the report.
    Raises:
        UserError: settings that cannot work, or a folder that is not this study's.
    """
    check_study(config, out)
    run = open_run(config, out, command)
    total = sum(run.cost.work(work) for work in works(config, run.loaded.depth, run.items))
    with run.store, Bar(total + training_cost(config, run.loaded.depth, run.cost, run.tasks), run.store) as run.bar:
        _stages(run)
        results = findings(run.store)
        run.store.put("results", results)
        write(results, out / REPORT)
    return results


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
