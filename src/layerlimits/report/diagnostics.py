"""The report's sections about what is lost: one per diagnostic, with its main finding, its charts and its table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from layerlimits.diagnostics import Chart, DiagnosedModel, Diagnostic, Finding
from layerlimits.report.figures import COLORS, DASHES, MARKERS, hover, spread, style, whole_numbers
from layerlimits.results.diagnose import chosen
from layerlimits.results.document import StudyResults

_HOVER = (
    "%{x}: %{y:.3g} (%{customdata[0]:.3g} to %{customdata[1]:.3g}, n = %{customdata[2]})<extra>%{fullData.name}</extra>"
)
# Rows of a table; the JSON form has all findings.
_ROWS = 200
_HEIGHT = 400
# Names of models stand upright below their bars.
_BAR_HEIGHT = 640
# Panels beside each other, one per task.
_COLUMNS = 2
_PATTERNS = ("", "/", "x")


@dataclass(frozen=True)
class Section:
    """A diagnostic's section: `charts` by element id, and the first rows of its `total` findings."""

    diagnostic: Diagnostic
    main: Finding
    charts: Mapping[str, tuple[Chart, go.Figure]]
    rows: Sequence[Finding]
    total: int


def sections(results: StudyResults) -> list[Section]:
    """The sections of the diagnostics that have findings, in the order of their names."""
    return [section for diagnostic in chosen() if (section := _section(diagnostic, results))]


def _section(diagnostic: Diagnostic, results: StudyResults) -> Section | None:
    rows = [row for row in results.diagnostics if row.diagnostic == diagnostic.name]
    if not rows:
        return None
    figures = {}
    for number, chart in enumerate(diagnostic.charts):
        if figure := draw(chart, rows, results.models, results.model.layers):
            figures[f"{diagnostic.name}-{number}"] = (chart, figure)
    # Rows with an estimate first; within a stage, the order of the diagnostic.
    order = {model.label: ("base", "prune", "recover", "sweep").index(model.stage) for model in results.models}
    shown = sorted(rows[1:], key=lambda row: (row.estimate is None, order.get(row.model, len(order))))
    return Section(diagnostic, rows[0], figures, shown[:_ROWS], len(rows) - 1)


def draw(chart: Chart, rows: Sequence[Finding], models: Sequence[DiagnosedModel], layers: int) -> go.Figure | None:
    """Draw a chart from findings; None if there is nothing to draw.

    Args:
        chart: What to draw.
        rows: The findings of the diagnostic.
        models: The models of the run.
        layers: Number of layers of the unpruned model.
    """
    measured = [row for row in rows if row.measure in chart.measures and row.value]
    measured.sort(key=lambda row: chart.measures.index(row.measure))
    by_label = {model.label: model for model in models}
    figure = go.Figure()
    if chart.kind == "layers":
        _layers(figure, [row for row in measured if _stage(by_label, row) == "sweep"], by_label)
        figure.update_xaxes(title="skipped layer", **whole_numbers(layers))
    elif chart.kind == "axis":
        figure = _panels([row for row in measured if row.x is not None and _stage(by_label, row) != "sweep"])
    else:
        _bars(figure, [row for row in measured if row.x is None and _stage(by_label, row) not in ("sweep", None)])
        figure.update_layout(barmode="stack" if chart.kind == "stacked" else "group")
        if chart.kind == "stacked":
            # They would overlap.
            figure.update_traces(error_y=None)
    height = {"layers": _HEIGHT, "axis": figure.layout.height}.get(chart.kind, _BAR_HEIGHT)
    return style(figure, height, chart.y) if figure.data else None


def _stage(by_label: Mapping[str, DiagnosedModel], row: Finding) -> str | None:
    return by_label[row.model].stage if row.model in by_label else None


def _series(rows: Sequence[Finding], *keys: str) -> Iterator[tuple[str, list[Finding]]]:
    """Rows with the same values of `keys`; a key with a single value is omitted from the name of the series."""
    varying = [key for key in keys if len({getattr(row, key) for row in rows}) > 1]
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, key) for key in keys), []).append(row)
    for values, members in groups.items():
        parts = [value for key, value in zip(keys, values, strict=True) if key in varying and value]
        yield ", ".join(parts) or members[0].measure, members


def _layers(figure: go.Figure, rows: Sequence[Finding], by_label: Mapping[str, DiagnosedModel]) -> None:
    for number, (name, members) in enumerate(_series(rows, "measure", "task")):
        places = [by_label[row.model].removed[0] for row in members]
        _line(figure, number, name, places, members)


def _panels(rows: Sequence[Finding]) -> go.Figure:
    """A panel per task with a line per model, which has the same color in all of them."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    if not tasks:
        return go.Figure()
    columns = min(len(tasks), _COLUMNS)
    figure = make_subplots(-(-len(tasks) // columns), columns, subplot_titles=tasks if len(tasks) > 1 else None)
    for number, (name, members) in enumerate(_series(rows, "measure", "model")):
        for task in dict.fromkeys(row.task for row in members):
            ordered = sorted((row for row in members if row.task == task), key=lambda row: row.x or 0)
            _line(figure, number, name, [row.x or 0 for row in ordered], ordered)
            row, column = divmod(tasks.index(task), columns)
            panel = "" if row == column == 0 else str(row * columns + column + 1)
            first = task == members[0].task
            figure.data[-1].update(xaxis=f"x{panel}", yaxis=f"y{panel}", legendgroup=name, showlegend=first)
    figure.update_xaxes(title=rows[0].axis)
    figure.update_layout(height=_HEIGHT * (-(-len(tasks) // columns)))
    return figure


def _line(figure: go.Figure, number: int, name: str, places: Sequence[float], rows: Sequence[Finding]) -> None:
    values = [row.value for row in rows if row.value]
    figure.add_scatter(
        x=list(places),
        y=[value.estimate for value in values],
        customdata=hover(values),
        hovertemplate=_HOVER,
        name=name,
        mode="lines+markers",
        line={
            "color": COLORS[number % len(COLORS)],
            "width": 2,
            "dash": DASHES[number // len(COLORS) % len(DASHES)],
        },
        marker={"symbol": MARKERS[number % len(MARKERS)], "size": 7},
    )


def _bars(figure: go.Figure, rows: Sequence[Finding]) -> None:
    tasks = len({row.task for row in rows}) > 1
    for number, (name, members) in enumerate(_series(rows, "measure")):
        values = [row.value for row in members if row.value]
        labels = [row.model for row in members]
        figure.add_bar(
            # With several tasks, the bars of a task stand together.
            x=[[row.task for row in members], labels] if tasks else labels,
            y=[value.estimate for value in values],
            error_y=spread(values),
            customdata=hover(values),
            hovertemplate=_HOVER,
            name=name,
            # With more than eight series, colors repeat with a pattern.
            marker={
                "color": COLORS[number % len(COLORS)],
                "pattern": {"shape": _PATTERNS[number // len(COLORS) % len(_PATTERNS)]},
            },
        )
