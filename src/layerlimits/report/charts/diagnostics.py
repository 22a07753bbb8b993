"""Charts of diagnostics, drawn from findings: heat maps over layers, curves, and values and shares by model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from layerlimits.diagnostics import Chart, DiagnosedModel, Diagnostic, Finding
from layerlimits.report.axes import counts, horizontal, listed, vertical
from layerlimits.report.charts.curves import is_random
from layerlimits.report.charts.heat import Cell, heat_map, ranged, scale
from layerlimits.report.drawing import Drawing, Plot, series_class, shortened
from layerlimits.report.figure import Figure, Key, extremes, shown
from layerlimits.results.diagnose import chosen
from layerlimits.results.document import StudyResults
from layerlimits.types import Estimate

_WIDTH, _HEIGHT = 176.0, 120.0
_BAR_ROW, _BAR_WIDTH, _MODEL_WIDTH = 17.0, 280.0, 220.0
# Models drawn beside the unpruned one where each has a line or a bar of its own; the table has all.
_MOST_MODELS = 7
_BASE_SERIES = 6
# What the heat map of the sweep shows already.
_SHOWN = ("sensitivity", "retention")


@dataclass(frozen=True)
class Section:
    """A diagnostic's section: its main finding, its figures, and all other findings."""

    diagnostic: Diagnostic
    main: Finding
    figures: tuple[Figure, ...]
    rows: Sequence[Finding]


def sections(results: StudyResults) -> list[Section]:
    """The sections of the diagnostics that have findings, in the order of their names."""
    return [section for diagnostic in chosen() if (section := _section(diagnostic, results))]


def _section(diagnostic: Diagnostic, results: StudyResults) -> Section | None:
    rows = [row for row in results.diagnostics if row.diagnostic == diagnostic.name]
    if not rows:
        return None
    figures = []
    for number, chart in enumerate(diagnostic.charts):
        name = f"{diagnostic.name}_{number}"
        shown_already = results.sweep and (diagnostic.name, *chart.measures) == _SHOWN
        if not shown_already and (figure := draw(name, chart, rows, results.models, results.model.layers)):
            figures.append(figure)
    order = {model.label: ("base", "prune", "recover", "sweep").index(model.stage) for model in results.models}
    ordered = sorted(rows[1:], key=lambda row: (row.estimate is None, order.get(row.model, len(order))))
    return Section(diagnostic, rows[0], tuple(figures), ordered)


def draw(
    name: str, chart: Chart, rows: Sequence[Finding], models: Sequence[DiagnosedModel], layers: int
) -> Figure | None:
    """Draw a chart from findings; None if there is nothing to draw.

    Args:
        name: Name of the figure.
        chart: What to draw.
        rows: The findings of the diagnostic.
        models: The models of the run.
        layers: Number of layers of the unpruned model.
    """
    by_label = {model.label: model for model in models}
    measured = [row for row in rows if row.measure in chart.measures and row.value and row.model in by_label]
    measured.sort(key=lambda row: chart.measures.index(row.measure))
    swept = [row for row in measured if by_label[row.model].stage == "sweep"]
    whole = [row for row in measured if by_label[row.model].stage != "sweep"]
    table = f"findings_{rows[0].diagnostic}" if rows else ""
    keys: list[Key] = []
    if chart.kind == "layers":
        panels, how = list(_heat(swept, by_label, layers, chart.y)), "One column per skipped layer."
    elif chart.kind == "axis":
        panels, keys, how = _over_axis([row for row in whole if row.x is not None], models)
    elif chart.kind == "bars":
        panels, keys, how = _over_layers([row for row in whole if row.x is None], by_label)
    else:
        panels, keys, how = _shares([row for row in whole if row.x is None], models, chart)
    if not panels:
        return None
    note = f"{chart.note} {how}".strip()
    return Figure(name, chart.title, f"{note} Unit: {chart.y}.", tuple(panels), tuple(keys), table)


def _groups(rows: Sequence[Finding], *keys: str) -> dict[str, list[Finding]]:
    """Rows with the same values of `keys`; a key with a single value is omitted from the names."""
    varying = [key for key in keys if len({getattr(row, key) for row in rows}) > 1]
    groups: dict[tuple[str, ...], list[Finding]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, key) for key in keys), []).append(row)
    named = {}
    for values, members in groups.items():
        parts = [value for key, value in zip(keys, values, strict=True) if key in varying and value]
        named[", ".join(parts) or members[0].task or members[0].measure] = members
    return named


def _estimate(row: Finding) -> Estimate:
    assert row.value is not None
    return row.value


def _heat(rows: Sequence[Finding], by_label: Mapping[str, DiagnosedModel], layers: int, unit: str) -> Iterator[Drawing]:
    """A panel per measure with a row per task, and one explanation of the colors."""
    if not rows:
        return
    color, ticks = ranged([_estimate(row).estimate for row in rows])
    for measure, members in _groups(rows, "measure").items():
        cells: dict[str, dict[int, Cell]] = {}
        for row in members:
            layer = by_label[row.model].removed[0]
            name = row.task or measure
            tip = f"{name} without layer {layer}: {row.measure} {shown(_estimate(row))}"
            cells.setdefault(name, {})[layer] = (_estimate(row), tip, False)
        yield heat_map(cells, layers, color, members[0].measure)
    yield scale(color, ticks, unit)


def _selected(rows: Sequence[Finding], models: Sequence[DiagnosedModel]) -> tuple[list[DiagnosedModel], str]:
    """The unpruned model and as many others as can be told apart: fewest layers first, equally over their numbers."""
    present = {row.model for row in rows}
    base = [model for model in models if model.stage == "base" and model.label in present]
    others = [model for model in models if model.stage in ("prune", "recover") and model.label in present]
    if len(others) <= _MOST_MODELS:
        return [*base, *others], ""
    # Random removal is a baseline of methods, not of what is lost.
    others = [model for model in others if not is_random(model.label.partition(",")[0])] or others
    levels = sorted({len(model.removed) for model in others})
    middle = levels[len(levels) // 2]
    picked = [model for model in others if len(model.removed) == middle][:_MOST_MODELS]
    plural = "s" * (middle != 1)
    return [*base, *picked], f"Drawn are models with {middle} layer{plural} removed; the table has all models."


def _over_axis(rows: Sequence[Finding], models: Sequence[DiagnosedModel]) -> tuple[list[Drawing], list[Key], str]:
    """A panel per task with a line per model."""
    drawn, how = _selected(rows, models)
    # The unpruned model is black.
    others = [place for place in range(len(drawn) + 1) if place != _BASE_SERIES]
    series = {model.label: _BASE_SERIES if model.stage == "base" else others.pop(0) for model in drawn}
    panels = []
    for name, members in _groups(rows, "measure", "task").items():
        kept = [row for row in members if row.model in series]
        if not kept:
            continue
        places = [row.x or 0.0 for row in kept]
        reached = [_estimate(row).estimate for row in kept]
        x = horizontal(places, _WIDTH, kept[0].axis, zero=False)
        plot = Plot(x, vertical(reached, _HEIGHT, ""), name)
        for label, place in series.items():
            own = sorted((row for row in kept if row.model == label), key=lambda row: row.x or 0)
            plot.line([(row.x or 0, _estimate(row).estimate) for row in own], series_class(place))
            for row in own:
                plot.whisker(row.x or 0, _estimate(row).low, _estimate(row).high, f"{series_class(place)} thin")
        for row in kept:
            tip = f"{row.model}, {row.axis} {row.x:g}: {shown(_estimate(row))}"
            plot.mark(row.x or 0, _estimate(row).estimate, series[row.model], tip)
        panels.append(
            plot.finish(f"{name}: {extremes([(f'{row.model} at {row.x:g}', _estimate(row)) for row in kept])}")
        )
    return panels, [Key(label, place) for label, place in series.items()] if panels else [], how


def _over_layers(
    rows: Sequence[Finding], by_label: Mapping[str, DiagnosedModel]
) -> tuple[list[Drawing], list[Key], str]:
    """A panel per measure and task: a line per method over the number of removed layers, finetuned models hollow."""
    # As in the charts of methods, in the order of the plans.
    methods = dict.fromkeys(model.label.partition(",")[0] for model in by_label.values() if model.stage == "prune")
    series = {name: place for place, name in enumerate(name for name in methods if not is_random(name))}
    drawn = {row.model.partition(",")[0] for row in rows}
    highest = max((len(by_label[row.model].removed) for row in rows), default=0)
    panels, hollow = [], False
    for name, members in _groups(rows, "measure", "task").items():
        values = [_estimate(row) for row in members]
        top = max(value.estimate for value in values)
        reached = [min(value.high, 1.5 * top) for value in values] + [value.estimate for value in values]
        plot = Plot(counts(highest, _WIDTH, "layers removed"), vertical(reached, _HEIGHT, ""), name)
        for row in members:
            if by_label[row.model].stage == "base":
                plot.rule(_estimate(row).estimate, "r")
        by_method: dict[str, list[Finding]] = {}
        for row in members:
            if by_label[row.model].stage == "prune":
                by_method.setdefault(row.model.partition(",")[0], []).append(row)
        for method, own in by_method.items():
            gray = is_random(method)
            style = "gray" if gray else series_class(series[method])
            own.sort(key=lambda row: len(by_label[row.model].removed))
            shift = _shift(method, series)
            plot.line([(len(by_label[row.model].removed) + shift, _estimate(row).estimate) for row in own], style)
        for row in members:
            hollow |= by_label[row.model].stage == "recover"
            _mark(plot, row, by_label[row.model], series)
        panels.append(plot.finish(f"{name}: {extremes([(row.model, _estimate(row)) for row in members])}"))
    keys = [Key(method, place) for method, place in series.items() if method in drawn]
    keys += [Key("random", 0, "gray")] if any(map(is_random, drawn)) else []
    keys += [Key("finetuned, in the color of its method", 0, "hollow")] if hollow else []
    return panels, keys if panels else [], "Whiskers are 95% intervals; the dotted line is the unpruned model."


def _shift(method: str, series: Mapping[str, int]) -> float:
    """Methods at the same number of layers stand beside each other: the distance from the number, in layers."""
    return (series.get(method, -1) - (len(series) - 1) / 2) * min(0.12, 0.5 / max(len(series), 1))


def _mark(plot: Plot, row: Finding, model: DiagnosedModel, series: Mapping[str, int]) -> None:
    method = row.model.partition(",")[0]
    gray = is_random(method)
    style = "gray" if gray else series_class(series.get(method, _BASE_SERIES))
    value, place = _estimate(row), len(model.removed)
    shift = _shift(method, series) if model.removed else 0.0
    plot.whisker(place + shift, value.low, value.high, f"{style} thin")
    look = "o" if model.stage == "recover" else "m gray" if gray else "m"
    number = series.get(method, 0) if model.removed else _BASE_SERIES
    plot.mark(place + shift, value.estimate, number, f"{row.model}: {row.measure} {shown(value)}", look)


def _shares(
    rows: Sequence[Finding], models: Sequence[DiagnosedModel], chart: Chart
) -> tuple[list[Drawing], list[Key], str]:
    """A panel per task with a stacked bar per model; measures that never occur are omitted."""
    drawn, how = _selected(rows, models)
    labels = [model.label for model in drawn]
    kept = [row for row in rows if row.model in labels]
    measures = [name for name in chart.measures if any(row.measure == name and row.estimate for row in kept)]
    series = {name: place for place, name in enumerate(measures)}
    panels = []
    for task, members in _groups([row for row in kept if row.measure in series], "task").items():
        present = [label for label in labels if any(row.model == label for row in members)]
        panels.append(_stack(members[0].task or task, present, members, series, chart.y))
    return panels, [Key(name, place, "cell") for name, place in series.items()] if panels else [], how


def _stack(title: str, labels: Sequence[str], rows: Sequence[Finding], series: Mapping[str, int], unit: str) -> Drawing:
    axis = horizontal([0.0, 1.0], _BAR_WIDTH, unit)
    plot = Plot(
        axis,
        listed([shortened(label.replace("finetuned (", "+ ("), _MODEL_WIDTH, 11) for label in labels], _BAR_ROW),
        title,
    )
    for place, label in enumerate(labels):
        left = 0.0
        for row in sorted((row for row in rows if row.model == label), key=lambda row: series[row.measure]):
            value = _estimate(row)
            if value.estimate > 0:
                tip = f"{label}: {row.measure} {shown(value)}"
                plot.cell(left, left + value.estimate, place, f".{series_class(series[row.measure])}", tip, inset=0.2)
            left += value.estimate
    most = [(f"{row.model}, {row.measure}", _estimate(row)) for row in rows]
    return plot.finish(f"{title}: {extremes(most)}")
