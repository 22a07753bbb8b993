"""The report's part on recovery: scores against trained tokens, losses, and one table by objective."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from layerlimits.report.figures import COLORS, MARKERS, hover, spread, style
from layerlimits.results.curves import CurveLine, RecoveryCurve, RegainedClass
from layerlimits.results.document import StudyResults
from layerlimits.results.harm import objective_words
from layerlimits.results.rows import Recovery, Regained
from layerlimits.types import Estimate

# Where the pruned model, which has 0 tokens, stands on the logarithmic axis, as a fraction of the first milestone.
_ZERO_FRAC = 0.5
_HOVER = "%{text}: %{y:.3f} (%{customdata[0]:.3f} to %{customdata[1]:.3f}, n = %{customdata[2]})<extra></extra>"


@dataclass(frozen=True)
class TableRow:
    """A task or class of a pruned model; `finetuned` has an entry per column, None if it was not measured."""

    name: str
    is_class: bool
    n: int
    base: Estimate
    pruned: Estimate
    finetuned: tuple[Regained | RegainedClass | None, ...]


@dataclass(frozen=True)
class Table:
    """The finetuned models of one pruned model: a column each, and a row per class and task."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]


@dataclass(frozen=True)
class CurveSection:
    """The curve of a finetuned model: heading, name of its figure, the figure, and its sentences."""

    title: str
    chart: str
    figure: go.Figure
    sentences: tuple[str, ...]


def tables(results: StudyResults) -> list[Table]:
    """One table per pruned model that was finetuned."""
    groups: dict[tuple[str, tuple[int, ...]], list[Recovery]] = {}
    for entry in results.recovery:
        if entry.tasks:
            groups.setdefault((entry.method, entry.removed), []).append(entry)
    return [_table(entries) for entries in groups.values()]


def _table(entries: Sequence[Recovery]) -> Table:
    first = entries[0]
    rows = [
        *(_row(row.kind, [_class_of(entry, row.kind) for entry in entries], is_class=True) for row in first.classes),
        *(_row(row.task, [_task_of(entry, row.task) for entry in entries], is_class=False) for row in first.tasks),
    ]
    columns = tuple(f"{objective_words(entry)}, {entry.name}" for entry in entries)
    plural = "s" * (first.layers != 1)
    return Table(f"{first.layers} layer{plural} removed by {first.method}", columns, tuple(rows))


def _class_of(entry: Recovery, kind: str) -> RegainedClass | None:
    return next((row for row in entry.classes if row.kind == kind), None)


def _task_of(entry: Recovery, task: str) -> Regained | None:
    return next((row for row in entry.tasks if row.task == task), None)


def _row(name: str, cells: Sequence[Regained | RegainedClass | None], *, is_class: bool) -> TableRow:
    known = next(cell for cell in cells if cell is not None)
    return TableRow(name, is_class, known.base.n, known.base, known.pruned, tuple(cells))


def curves(results: StudyResults) -> list[CurveSection]:
    """The curves of the finetuned models that were evaluated during their training."""
    sections = []
    for number, entry in enumerate(results.recovery):
        if entry.curve and entry.curve.lines:
            title = f"{entry.layers} removed by {entry.method}, {entry.name}, {objective_words(entry)}"
            sentences = tuple(_sentences(entry.curve))
            sections.append(CurveSection(title, f"curve_{number}", _figure(entry.curve), sentences))
    return sections


def _figure(curve: RecoveryCurve) -> go.Figure:
    figure = make_subplots(
        cols=2, column_widths=[0.68, 0.32], subplot_titles=["score on select items", "loss"], horizontal_spacing=0.08
    )
    first = min((point.tokens for point in curve.lines[0].points if point.tokens > 0), default=1)
    for number, line in enumerate(curve.lines):
        for trace in _line(line, number, first):
            figure.add_trace(trace, row=1, col=1)
    for name, color, losses in (
        ("training loss", "#9aa3b0", [point.train for point in curve.losses]),
        ("held-out loss", "#1c2430", [point.heldout for point in curve.losses]),
    ):
        tokens = [_place(point.tokens, first) for point in curve.losses]
        figure.add_trace(
            go.Scatter(x=tokens, y=losses, name=name, mode="lines+markers", line={"color": color}), row=1, col=2
        )
    figure.update_xaxes(type="log", title="trained tokens (leftmost: before training)")
    return style(figure, 460).update_layout(margin={"t": 40})


def _place(tokens: float, first: int) -> float:
    return tokens if tokens > 0 else first * _ZERO_FRAC


def _line(line: CurveLine, number: int, first: int) -> Iterator[go.Scatter]:
    """The measured scores, and the projection for ten times the tokens as a dotted line."""
    scores = [point.score for point in line.points]
    color, whole_class = COLORS[number % len(COLORS)], len(line.tasks) > 1
    name = f"{line.name} (mean)" if whole_class else line.name
    yield go.Scatter(
        x=[_place(point.tokens, first) for point in line.points],
        y=[score.estimate for score in scores],
        error_y=spread(scores),
        customdata=hover(scores),
        text=[_described(line, point.tokens, point.retention) for point in line.points],
        hovertemplate=_HOVER,
        name=name,
        legendgroup=name,
        mode="lines+markers",
        line={"color": color, "width": 3 if whole_class else 1.5},
        marker={"symbol": MARKERS[number % len(MARKERS)], "size": 7},
    )
    projected, last = line.saturation.ten_times, line.points[-1]
    if projected:
        yield go.Scatter(
            x=[last.tokens, 10 * last.tokens],
            y=[last.score.estimate, projected.estimate],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [0, projected.high - projected.estimate],
                "arrayminus": [0, projected.estimate - projected.low],
                "thickness": 1,
                "width": 3,
            },
            hovertemplate=f"{line.name}, ten times the tokens: %{{y:.3f}}<extra>projection, 90% interval</extra>",
            name=f"{name}, projected",
            legendgroup=name,
            showlegend=False,
            mode="lines+markers",
            line={"color": color, "dash": "dot", "width": 1.5},
            marker={"symbol": "circle-open", "size": 7},
        )


def _described(line: CurveLine, tokens: int, retention: Estimate | None) -> str:
    kept = f", retention {retention.estimate:.2f} ({retention.low:.2f} to {retention.high:.2f})" if retention else ""
    return f"{line.name}, {tokens:,} tokens{kept}"


def _sentences(curve: RecoveryCurve) -> Iterator[str]:
    """What each line says about more training, and how its first half would have done."""
    for line in curve.lines:
        fitted = line.saturation
        if fitted.ceiling is None or fitted.ten_times is None:
            yield f"{line.name}: no projected ceiling, because {fitted.reason}."
            continue
        ten, ceiling = fitted.ten_times, fitted.ceiling
        parts = [
            f"{line.name}: projected ceiling {ceiling.estimate:.2f} "
            f"(90% interval {ceiling.low:.2f} to {ceiling.high:.2f})",
            f"ten times the tokens would bring {ten.estimate:.2f} ({ten.low:.2f} to {ten.high:.2f})",
        ]
        if fitted.half:
            parts.append(_half(fitted.half.estimate, fitted.half.low, fitted.half.high))
        if (tested := line.backtest).forecast:
            verb = "holds" if tested.held else "misses"
            parts.append(
                f"the forecast from the first {tested.tokens:,.0f} tokens, {tested.forecast.low:.2f} to "
                f"{tested.forecast.high:.2f}, {verb} the measured end {tested.end:.2f}"
            )
        yield "; ".join(parts) + "."


def _half(estimate: float | None, low: float | None, high: float | None) -> str:
    if estimate is None:
        return "half of the loss is not regained within 100 times the trained tokens"
    bounds = " to ".join("beyond 100 times the trained tokens" if end is None else f"{end:,.0f}" for end in (low, high))
    return f"half of the loss is regained after {estimate:,.0f} tokens ({bounds})"
