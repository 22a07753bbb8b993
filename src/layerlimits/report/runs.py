"""A page that compares several studies."""

from collections.abc import Mapping
from dataclasses import replace

from layerlimits.report.charts.heat import sweep
from layerlimits.report.charts.runs import Runs, run_charts
from layerlimits.report.html import render_page
from layerlimits.report.tables import Cell, Column, Table, estimates, numbers, texts, without_empty
from layerlimits.report.units import size
from layerlimits.results.document import StudyResults
from layerlimits.results.progress import progress


def named(results: Mapping[str, StudyResults]) -> dict[str, StudyResults]:
    """Studies by the name of their model, and where models share a name, also by that of their folder.

    Args:
        results: Studies by the name of their folder.
    """
    titles = [study.model.title for study in results.values()]
    return {
        study.model.title if titles.count(study.model.title) == 1 else f"{study.model.title} ({folder})": study
        for folder, study in results.items()
    }


def render_runs(results: Mapping[str, StudyResults]) -> str:
    """Render a self-contained page that shows several studies on the same charts.

    Args:
        results: Studies by the name of their folder, which is unique.
    """
    runs = named(results)
    layers = []
    for number, (name, study) in enumerate(runs.items()):
        if figure := sweep(study):
            layers.append(replace(figure, name=f"sweep_{number}", title=f"{name}: {figure.title}", table="run_base"))
    tables = [_runs(runs), _base(runs), _classes(runs)]
    return render_page(
        "runs.html.j2",
        " and ".join(runs),
        {table.name: without_empty(table) for table in tables if table.rows},
        runs={name: (study, progress(study).sentence) for name, study in runs.items()},
        charts=list(run_charts(runs)),
        layers=layers,
        book_data="",
    )


def _runs(runs: Runs) -> Table:
    rows: list[list[Cell]] = [
        [name, study.model.layers, study.model.parameters, study.model.weight_bytes, study.model.dtype, study.preset,
         len(study.tasks), progress(study).last if progress(study).sentence else "finished", study.answer]
        for name, study in runs.items()
    ]  # fmt: skip
    columns = (
        *texts("run"), *numbers("layers", "parameters"), *numbers("weights", show=size), *texts("dtype", "preset"),
        *numbers("tasks"), *texts("stage"), Column("answer", "wide"),
    )  # fmt: skip
    return Table("runs", "The compared runs", columns, rows)


def _base(runs: Runs) -> Table:
    rows: list[list[Cell]] = [
        [name, task.name, task.kind, task.metric, task.score, task.score.n]
        for name, study in runs.items()
        for task in study.tasks
    ]
    columns = (*texts("run", "task", "class", "metric"), *estimates("score"), *numbers("n"))
    return Table("run_base", "Scores of the unpruned models", columns, rows)


def _classes(runs: Runs) -> Table:
    rows: list[list[Cell]] = [
        [name, row.method, row.layers, 100 * row.layers / study.model.layers, row.kind, row.retention, row.corrected,
         row.retention.n if row.retention else None]
        for name, study in runs.items()
        for row in study.classes
    ]  # fmt: skip
    share = Column("layers removed (%)", "number", lambda value: f"{value:.1f}")
    columns = (
        *texts("run", "method"), *numbers("layers removed"), share, *texts("class"),
        *estimates("retention", "corrected for chance"), *numbers("n"),
    )  # fmt: skip
    return Table("run_classes", "Mean retention of each class by run, method and ratio", columns, rows)
