"""`plan` and `run_study`, and functions that read run folders: `open_run`, `write_report` and others."""

from collections.abc import Sequence
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.evaluation.store import Store
from layerlimits.paths import RUN_FILE, check_writable, holds_run
from layerlimits.report.export import markdown, write_files
from layerlimits.report.html import check_report_file, write, write_results, write_text
from layerlimits.report.runs import render_runs
from layerlimits.results.answer_book import answer_book
from layerlimits.results.document import PlanResults, StagePlan, StudyResults
from layerlimits.results.study import study_results
from layerlimits.study.config import StudyConfig
from layerlimits.study.pipeline import REPORT, RESULTS
from layerlimits.study.pipeline import study as run_pipeline
from layerlimits.study.preflight import check_study, estimate


def default_folder(config: StudyConfig) -> Path:
    """The default run folder of a study."""
    return Path("runs") / Path(config.model).name


def report_file(run: str | Path) -> Path:
    """The path of the report in a run folder."""
    return Path(run) / REPORT


def run_study(
    config: StudyConfig, out: str | Path | None = None, *, command: str = "", began: float | None = None
) -> StudyResults:
    """Run the full experiment (sweep, rank, prune, diagnose, recover) and write the report.

    Args:
        config: Settings of the study.
        out: Run folder; `default_folder(config)` if None. An existing run of the same study is resumed.
        command: Command line to record in the report.
        began: Time from which a budget counts, in seconds since the epoch; now if None.

    Returns:
        The results shown in the report.

    Raises:
        UserError: The settings or the model cannot be used, or the folder contains something else.

    Example:
        >>> results = run_study(StudyConfig(model="reference", tasks=("arithmetic",), limit=20), "runs/small")
        >>> print(results.answer)
    """
    return run_pipeline(config, _folder(config, out), command, began)


def plan(config: StudyConfig, out: str | Path | None = None) -> PlanResults:
    """List the stages of a study with their estimated duration in seconds, without running them.

    Args:
        config, out: As for `run_study`.

    Raises:
        UserError: As for `run_study`.

    Example:
        >>> plan(StudyConfig(preset="standard")).to_frame()
    """
    folder = _folder(config, out)
    rows, seconds, number_type = estimate(check_study(config, folder), folder)
    stages = tuple(StagePlan(**row) for row in rows)
    return PlanResults(
        config.model,
        config.preset,
        number_type.dtype,
        number_type.reason,
        number_type.rates,
        stages,
        seconds,
        config.template,
    )


def open_run(run: str | Path) -> StudyResults:
    """Read the results of a finished or unfinished study from its run folder. The model is not needed.

    Args:
        run: Run folder of the study.

    Raises:
        UserError: The folder contains no study, or no stage has finished yet.

    Example:
        >>> open_run("runs/reference").to_frame()
    """
    folder = Path(run)
    check_run(folder)
    with Store(folder, read_only=True) as store:
        return study_results(store)


def _folder(config: StudyConfig, out: str | Path | None) -> Path:
    return Path(out) if out else default_folder(config)


def check_run(run: Path) -> None:
    """Check that a folder is a run folder.

    Raises:
        UserError: The folder has no database.
    """
    if not holds_run(run):
        raise UserError(f"{run} is not a run folder: it has no {RUN_FILE}", "use the output folder of a study (--out)")


def write_report(run: str | Path, out: str | Path | None = None) -> StudyResults:
    """Write the report of a finished or unfinished study from its run folder, as a single HTML file.

    Args:
        run: Run folder of the study.
        out: Output file; `report_file(run)` if None.

    Raises:
        UserError: As for `open_run`; or `out` is a folder, a file in a run folder, or an existing file that is not a
            report.

    Example:
        >>> write_report("runs/reference", "report.html")
    """
    check_run(Path(run))
    # Reading a run takes seconds, so check the output file first.
    page = check_report_file(Path(out) if out else report_file(run))
    with Store(Path(run), read_only=True) as store:
        results, book = study_results(store), answer_book(store)
    write(results, page, book)
    if page.parent == Path(run).resolve():
        write_results(results, page.with_name(RESULTS))
    return results


def write_comparison(runs: Sequence[str | Path], out: str | Path) -> dict[str, StudyResults]:
    """Write a report that shows several studies on the same charts, as a single HTML file.

    Args:
        runs: Run folders of studies, finished or not.
        out: Output file.

    Returns:
        The results of the studies by run folder.

    Raises:
        UserError: As for `write_report`; or a run is given twice.

    Example:
        >>> write_comparison(["runs/small", "runs/large"], "both.html")
    """
    folders = [Path(run).resolve() for run in runs]
    if len(set(folders)) < len(folders):
        raise UserError("a run folder is given twice", "give each run folder once")
    page = check_report_file(Path(out))
    results = {str(run): open_run(run) for run in runs}
    write_text(page, render_runs(results))
    return results


def write_figures(run: str | Path, out: str | Path) -> tuple[Path, ...]:
    """Write the charts of a study as SVG, PDF and PNG, and its tables as LaTeX, Markdown and CSV.

    Args:
        run: Run folder of the study, finished or not.
        out: Output folder; new or empty.

    Returns:
        The files.

    Raises:
        UserError: As for `open_run`; or the folder cannot be written, or is not empty.

    Example:
        >>> write_figures("runs/reference", "figures")
    """
    check_run(Path(run))
    check_writable(Path(out), empty=True)
    return write_files(open_run(run), Path(out))


def markdown_tables(run: str | Path) -> str:
    """The answer and the main tables of a study in Markdown.

    Args:
        run: Run folder of the study, finished or not.

    Raises:
        UserError: As for `open_run`.

    Example:
        >>> print(markdown_tables("runs/reference"))
    """
    return markdown(open_run(run))
