"""The report's figures, as Plotly figures."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from layerlimits.results.document import StudyResults
from layerlimits.results.harm import objective_words
from layerlimits.results.rows import ClassRetention, PlanComparison
from layerlimits.types import Estimate

# The Okabe-Ito palette, which color-blind readers can distinguish.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
MARKERS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "hexagon")
# With more than eight lines, colors repeat with another dash style.
DASHES = ("solid", "dash", "dot", "dashdot")
_GRID = "#e6e8ec"
_KIND_TITLES = {"generation": "generation", "choice": "choice, above chance"}


def style(figure: go.Figure, height: int, y_title: str | None = None) -> go.Figure:
    """Apply the fonts, colors and margins of all figures."""
    figure.update_layout(
        height=height,
        margin={"l": 56, "r": 16, "t": 24, "b": 48},
        paper_bgcolor="white",
        plot_bgcolor="white",
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#1c2430"},
        legend={"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0, "x": 0},
        hovermode="closest",
    )
    figure.update_xaxes(gridcolor=_GRID, zeroline=False, linecolor="#9aa3b0")
    figure.update_yaxes(gridcolor=_GRID, zeroline=False, linecolor="#9aa3b0")
    if y_title:
        figure.update_layout(yaxis_title=y_title)
    return figure


def whole_numbers(largest: int) -> dict[str, Any]:
    """Tick settings of an axis that counts layers up to `largest`."""
    return {"dtick": 1} if largest <= 32 else {}


def spread(figures: Sequence[Estimate]) -> dict[str, Any]:
    """Error bars from the intervals of estimates."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [max(0.0, value.high - value.estimate) for value in figures],
        "arrayminus": [max(0.0, value.estimate - value.low) for value in figures],
        "thickness": 1,
        "width": 3,
    }


def hover(figures: Sequence[Estimate]) -> list[list[float]]:
    """The custom data of points: interval and number of items."""
    return [[value.low, value.high, value.n] for value in figures]


_HOVER = "%{y:.2f} (%{customdata[0]:.2f} to %{customdata[1]:.2f}, n = %{customdata[2]})<extra>%{fullData.name}</extra>"


def sweep(results: StudyResults) -> go.Figure | None:
    """Retention over the skipped layer, one line per task; choice tasks are dashed."""
    if not results.sweep:
        return None
    figure = go.Figure()
    for number, task in enumerate(results.tasks):
        points = [(row.layer, row.retention) for row in results.sweep if row.task == task.name and row.retention]
        figures = [value for _, value in points]
        figure.add_scatter(
            x=[layer for layer, _ in points],
            y=[value.estimate for value in figures],
            customdata=hover(figures),
            hovertemplate="layer %{x}: " + _HOVER,
            name=task.name,
            mode="lines+markers",
            line={"color": COLORS[number % 8], "dash": "dash" if task.kind == "choice" else "solid", "width": 2},
            marker={"symbol": MARKERS[number % 8], "size": 7},
        )
    figure.add_hline(y=1, line={"color": "#9aa3b0", "width": 1})
    figure.update_xaxes(title="skipped layer", **whole_numbers(results.model.layers))
    return style(figure, 460, "retention (score / unpruned score)")


def methods(results: StudyResults) -> go.Figure | None:
    """Retention over the number of removed layers, one line per method and one panel per class."""
    kinds = [kind for kind in _KIND_TITLES if any(row.kind == kind for row in results.classes)]
    if not kinds:
        return None
    titles = [_KIND_TITLES[kind] for kind in kinds]
    figure = make_subplots(cols=len(kinds), shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.04)
    for column, kind in enumerate(kinds, 1):
        for number, method in enumerate(_methods(results.classes)):
            rows = [row for row in results.classes if (row.kind, row.method) == (kind, method)]
            points = [(row.layers, row.corrected or row.retention) for row in rows]
            figure.add_trace(_line(points, method, number, legend=column == 1), row=1, col=column)
    figure.add_hline(y=1, line={"color": "#9aa3b0", "width": 1})
    figure.add_hline(y=0.9, line={"color": "#9aa3b0", "width": 1, "dash": "dot"})
    figure.update_xaxes(title="layers removed", **whole_numbers(max(row.layers for row in results.pruned)))
    return style(figure, 440, "mean retention over tasks").update_layout(margin={"t": 40})


def _methods(rows: Sequence[ClassRetention | PlanComparison]) -> list[str]:
    return list(dict.fromkeys(row.method for row in rows))


def _line(points: Sequence[tuple[int, Estimate | None]], method: str, number: int, *, legend: bool) -> go.Scatter:
    """A method's retention over the number of removed layers, where it is measurable."""
    shown = [(layers, value) for layers, value in points if value]
    figures = [value for _, value in shown]
    return go.Scatter(
        x=[layers for layers, _ in shown],
        y=[value.estimate for value in figures],
        error_y=spread(figures),
        customdata=hover(figures),
        hovertemplate="%{x} layers: " + _HOVER,
        name=method,
        legendgroup=method,
        showlegend=legend,
        mode="lines+markers",
        line={"color": COLORS[number % 8], "width": 2, "dash": DASHES[number // 8 % 4]},
        marker={"symbol": MARKERS[number % 8], "size": 8},
    )


def by_task(results: StudyResults) -> go.Figure | None:
    """Retention over the number of removed layers for one task, selected from a menu."""
    tasks = [task.name for task in results.tasks if any(row.task == task.name for row in results.pruned)]
    if not tasks:
        return None
    names = _methods(results.pruned)
    figure = go.Figure()
    for task in tasks:
        for number, method in enumerate(names):
            rows = [row for row in results.pruned if (row.task, row.method) == (task, method)]
            trace = _line([(row.layers, row.retention) for row in rows], method, number, legend=True)
            figure.add_trace(trace.update(visible=task == tasks[0]))
    buttons = [
        {"label": task, "method": "update", "args": [{"visible": [name == task for name in tasks for _ in names]}]}
        for task in tasks
    ]
    figure.update_layout(updatemenus=[{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.03, "yanchor": "bottom"}])
    figure.add_hline(y=1, line={"color": "#9aa3b0", "width": 1})
    figure.update_xaxes(title="layers removed", **whole_numbers(max(row.layers for row in results.pruned)))
    return style(figure, 440, "retention").update_layout(margin={"t": 64})


def recovery(results: StudyResults, removed: Sequence[int]) -> go.Figure:
    """Scores by task of the unpruned model, the pruned model and its finetuned models."""
    entries = [entry for entry in results.recovery if entry.removed == tuple(removed)]
    tasks = [row.task for row in entries[0].tasks]
    bars = [("unpruned", "#9aa3b0", [row.base for row in entries[0].tasks])]
    bars.append((f"without {len(removed)} layers", COLORS[1], [row.pruned for row in entries[0].tasks]))
    for number, entry in enumerate(entries):
        color = (COLORS[0], *COLORS[2:])[number % (len(COLORS) - 1)]
        bars.append(
            (f"finetuned ({entry.name}, {objective_words(entry)})", color, [row.recovered for row in entry.tasks])
        )
    figure = go.Figure()
    for name, color, figures in bars:
        figure.add_bar(
            x=tasks,
            y=[value.estimate for value in figures],
            error_y=spread(figures),
            customdata=hover(figures),
            hovertemplate="%{x}: " + _HOVER,
            name=name,
            marker={"color": color},
        )
    figure.update_yaxes(range=[0, 1.05])
    return style(figure, 400, "score")


def speed(results: StudyResults) -> go.Figure | None:
    """Mean retention by class over the speedup, for the timed models."""
    gains = {row.removed: row.speedup for row in results.speed if row.speedup}
    figure = go.Figure()
    for number, kind in enumerate(_KIND_TITLES):
        # Methods with the same plan share a point; the line connects points in order of speed.
        rows = {row.removed: row for row in results.classes if row.kind == kind and row.removed in gains}
        points = [(row.layers, gains[removed], row.corrected or row.retention) for removed, row in rows.items()]
        shown = [(layers, gain, value) for layers, gain, value in points if value]
        shown.sort(key=lambda point: point[1].estimate)
        figures = [value for _, _, value in shown]
        if figures:
            figure.add_scatter(
                x=[gain.estimate for _, gain, _ in shown],
                y=[value.estimate for value in figures],
                error_y=spread(figures),
                text=[f"-{layers}" for layers, _, _ in shown],
                textposition="top right",
                customdata=hover(figures),
                hovertemplate="%{text} layers, speedup %{x:.2f}: " + _HOVER,
                name=_KIND_TITLES[kind],
                mode="lines+markers+text",
                line={"color": COLORS[number]},
                marker={"symbol": MARKERS[number], "size": 8},
            )
    if not figure.data:
        return None
    figure.update_xaxes(title="decoding speedup over the unpruned model")
    return style(figure, 380, "mean retention")
