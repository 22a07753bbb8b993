"""Heat maps over the layers of the model: what a single layer is worth, and which layers each method removes."""

from collections.abc import Callable, Mapping, Sequence

from layerlimits.report.axes import Axis, columns, listed, text_width
from layerlimits.report.drawing import Drawing, Plot, number, text
from layerlimits.report.figure import Figure, extremes, shown
from layerlimits.report.style import contrast, range_color, retention_color
from layerlimits.results.document import StudyResults
from layerlimits.results.rows import LayerComparison, PlanComparison
from layerlimits.types import Estimate

_ROW, _STRIP_ROW = 22.0, 15.0
_GRID_ROW, _GRID_COLUMN = 32.0, 66.0
_WIDEST = 880.0
# A cell of a heat map: its value, its tooltip, and whether it is marked with a dot.
Cell = tuple[Estimate, str, bool]


def cell_width(layers: int) -> float:
    """The width of a layer's column in pixels."""
    return min(26.0, _WIDEST / max(layers, 1))


def heat_map(
    rows: Mapping[str, Mapping[int, Cell]], layers: int, color: Callable[[float], str], title: str = ""
) -> Drawing:
    """A drawing with a row per name and a column per layer; layers without a value are gray.

    Args:
        rows: The cells by row and layer.
        layers: Number of layers of the model.
        color: The color of a value.
        title: Heading of the panel.
    """
    plot = Plot(columns(layers, cell_width(layers) * layers, "skipped layer"), listed(list(rows), _ROW), title)
    for place, (name, cells) in enumerate(rows.items()):
        for layer in range(layers):
            if layer not in cells:
                plot.cell(layer, layer + 1, place, ".none", f"{name}, layer {layer}: not measured")
                continue
            value, tip, dotted = cells[layer]
            plot.cell(layer, layer + 1, place, color(value.estimate), tip)
            if dotted:
                x, y = number(plot.x.at(layer + 0.5)), number(plot.y.at(place))
                plot.marks.append(f'<circle class="dot" cx="{x}" cy="{y}" r="2"/>')
    values = [(tip.partition(":")[0], value) for cells in rows.values() for value, tip, _ in cells.values()]
    return plot.finish(f"{title + ': ' if title else ''}{len(rows)} rows, {layers} layers. {extremes(values)}")


def scale(color: Callable[[float], str], ticks: Sequence[float], title: str, last: str = "") -> Drawing:
    """A drawing that explains the colors of a heat map.

    Args:
        color: The color of a value.
        ticks: Explained values, ascending.
        title: What the values are.
        last: Label of the last tick if it stands for all values beyond.
    """
    size, parts = 26.0, [text(0, 15, title)]
    left = text_width(title, 11) + 12
    for place, tick in enumerate(ticks):
        x = left + place * size * 1.6
        label = last if last and place == len(ticks) - 1 else f"{tick:.3g}"
        parts.append(f'<rect class="c" x="{number(x)}" y="0" width="{size * 1.6:g}" height="10" fill="{color(tick)}"/>')
        parts.append(text(x + size * 0.8, 22, label, "k", "middle"))
    return Drawing(left + len(ticks) * size * 1.6 + 4, 26, "".join(parts))


def sweep(results: StudyResults) -> Figure | None:
    """Retention of each task without each single layer."""
    rows: dict[str, dict[int, Cell]] = {}
    for task in results.tasks:
        cells = {row.layer: cell for row in results.sweep if row.task == task.name and (cell := _swept(row))}
        if cells:
            rows[task.name] = cells
    if not rows:
        return None
    panel = heat_map(rows, results.model.layers, retention_color)
    key = scale(retention_color, (0, 0.25, 0.5, 0.75, 0.9, 1, 1.25, 1.5), "retention", "1.5+")
    return Figure(
        "sweep",
        "Retention of each task when a single layer is skipped",
        "Red cells mark layers that a task depends on; white is the unpruned model's score. Scores of choice tasks are "
        "corrected for chance. A dot marks a significant difference from the unpruned model (exact McNemar test, "
        "p \u2264 0.05 after Holm's correction). Tooltips and the table give 95% intervals and n.",
        (panel, key),
        table="sweep",
    )


def _swept(row: LayerComparison) -> Cell | None:
    value = row.adjusted_retention
    if value is None:
        return None
    tested = f", p = {row.test.p_holm:.2g}" if row.test and row.test.p_holm is not None else ""
    dotted = bool(row.test and row.test.significant)
    return value, f"{row.task} without layer {row.layer}: retention {shown(value)}{tested}", dotted


def strips(results: StudyResults) -> Figure | None:
    """Which layers each method removes, one panel per number of layers."""
    plans = list({(row.method, row.layers): row for row in results.classes or results.pruned}.values())
    if not plans:
        return None
    panels = []
    for count in sorted({row.layers for row in plans}):
        rows = [row for row in plans if row.layers == count]
        panels.append(_strip(results.model.layers, count, [(row.method, row.removed) for row in rows]))
    return Figure(
        "strips",
        "Layers that each method removes",
        "One row per method, one column per layer in the numbering of the unpruned model; removed layers are filled.",
        tuple(panels),
        table="classes",
    )


def _strip(layers: int, count: int, plans: Sequence[tuple[str, Sequence[int]]]) -> Drawing:
    width = min(18.0, _WIDEST / layers)
    axis = columns(layers, width * layers, "")
    plot = Plot(axis, listed([method for method, _ in plans], _STRIP_ROW), f"{count} of {layers} layers removed")
    for place, (method, removed) in enumerate(plans):
        plot.row(layers, place)
        for layer in removed:
            tip = f"{method} removes layer {layer} ({count} of {layers} removed)"
            plot.cell(layer, layer + 1, place, ".s1", tip)
    listing = "; ".join(f"{method}: {', '.join(map(str, sorted(removed)))}" for method, removed in plans)
    return plot.finish(f"{count} of {layers} layers removed, by {listing}.")


def by_task(results: StudyResults) -> Figure | None:
    """Retention of each task by method and number of layers removed."""
    counts = sorted({row.layers for row in results.pruned})
    panels = []
    for task in results.tasks:
        rows = [row for row in results.pruned if row.task == task.name and row.adjusted_retention]
        if rows:
            panels.append(_grid(task.name, counts, rows))
    if not panels:
        return None
    return Figure(
        "by_task",
        "Retention of each task by method and number of layers removed",
        "Each cell gives the retention with its 95% interval; scores of choice tasks are corrected for chance.",
        tuple(panels),
        table="pruned",
    )


def _grid(task: str, counts: Sequence[int], rows: Sequence[PlanComparison]) -> Drawing:
    names = list(dict.fromkeys(row.method for row in rows))
    labels = tuple((place + 0.5, str(count)) for place, count in enumerate(counts))
    axis = Axis(0, len(counts), _GRID_COLUMN * len(counts), labels, "layers removed")
    plot = Plot(axis, listed(names, _GRID_ROW), task)
    values = []
    for row in rows:
        value = row.adjusted_retention
        assert value is not None
        place, x = names.index(row.method), counts.index(row.layers)
        tip = f"{row.method}, {row.layers} layers removed: retention {shown(value)}"
        color = retention_color(value.estimate)
        plot.cell(x, x + 1, place, color, tip)
        plot.label(x + 0.5, place, f"{value.estimate:.2f}", f"t {contrast(color)}", (0, -2))
        plot.label(x + 0.5, place, f"{value.low:.2f}\u2013{value.high:.2f}", f"k {contrast(color)}", (0, 11))
        values.append((f"{row.method} with {row.layers} removed", value))
    return plot.finish(f"{task}: {extremes(values)}")


def ranged(values: Sequence[float]) -> tuple[Callable[[float], str], tuple[float, ...]]:
    """A color scale that covers values, with the ticks that explain it; shares keep the range 0 to 1."""
    low, high = min(values), max(values)
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    ticks = tuple(low + (high - low) * part / 4 for part in range(5))
    return (lambda value: range_color(value, low, high)), ticks
