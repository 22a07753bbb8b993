"""The charts of a study that do not belong to a diagnostic or to one finetuned model."""

from collections.abc import Iterator

from layerlimits.report.charts.curves import KIND_WORDS, retention
from layerlimits.report.charts.heat import by_task, strips, sweep
from layerlimits.report.charts.options import pareto
from layerlimits.report.figure import Figure
from layerlimits.results.document import StudyResults


def charts(results: StudyResults) -> Iterator[Figure]:
    """The charts for which there are results."""
    drawn = (
        sweep(results),
        *(retention(results, kind) for kind in KIND_WORDS),
        by_task(results),
        strips(results),
        pareto(results),
    )
    yield from (figure for figure in drawn if figure is not None)
