"""Charts of several studies together: each run is a series, over the fraction of its layers that is removed."""

from collections.abc import Iterator, Mapping, Sequence

from layerlimits.report.axes import Axis, horizontal, vertical
from layerlimits.report.charts.curves import KIND_WORDS, is_random
from layerlimits.report.drawing import Drawing, Plot, series_class
from layerlimits.report.figure import Figure, Key, extremes, shown
from layerlimits.results.document import StudyResults
from layerlimits.types import Estimate, Kind

_WIDTH, _HEIGHT, _TOP = 300.0, 190.0, 1.3
Runs = Mapping[str, StudyResults]
# A point of a run: position on the axis, retention, and what it is.
Point = tuple[float, Estimate, str]


def run_charts(runs: Runs) -> Iterator[Figure]:
    """Retention by fraction of layers removed and by speed, for each class; nothing for a class without results."""
    keys = tuple(Key(name, place) for place, name in enumerate(runs))
    for kind, words in KIND_WORDS.items():
        by_method: dict[str, dict[str, list[Point]]] = {}
        for name, results in runs.items():
            for method, points in _by_method(results, kind).items():
                by_method.setdefault(method, {})[name] = points
        if by_method:
            panels = [_panel(method, list(runs), lines, "layers removed (%)") for method, lines in by_method.items()]
            yield Figure(
                f"runs_{kind}",
                f"{words}: mean retention by share of layers removed",
                "A panel per method, a line per run, 95% intervals. The dotted line marks 90% of the unpruned model.",
                tuple(panels),
                keys,
                table="run_classes",
            )
        speeds = {name: points for name, results in runs.items() if (points := _by_speed(results, kind))}
        if speeds:
            yield Figure(
                f"run_speeds_{kind}",
                f"{words}: mean retention by decoding speed",
                "All methods of each run; models with as many layers have the speed of the timed one.",
                (_panel("", list(runs), speeds, "decoding speed, unpruned = 1", joined=False),),
                tuple(Key(key.label, key.series, "mark") for key in keys),
                table="run_classes",
            )


def _by_method(results: StudyResults, kind: Kind) -> dict[str, list[Point]]:
    lines: dict[str, list[Point]] = {}
    for row in results.classes:
        if row.kind == kind and (value := row.adjusted_retention):
            method = "random" if is_random(row.method) else row.method
            share = 100 * row.layers / results.model.layers
            words = f"{row.method}, {row.layers} of {results.model.layers} removed"
            lines.setdefault(method, []).append((share, value, words))
    return lines


def _by_speed(results: StudyResults, kind: Kind) -> list[Point]:
    timed = {len(row.removed): row.speedup for row in results.speed if row.speedup}
    return [
        (timed[row.layers].estimate, row.adjusted_retention, f"{row.method}, {row.layers} removed")
        for row in results.classes
        if row.kind == kind and row.adjusted_retention and row.layers in timed
    ]


def _panel(
    title: str, names: Sequence[str], lines: Mapping[str, Sequence[Point]], words: str, *, joined: bool = True
) -> Drawing:
    values = [(place, value) for points in lines.values() for place, value, _ in points]
    top = max(_TOP, *(value.estimate for _, value in values))
    reached = [min(value.high, top) for _, value in values] + [min(0.0, value.estimate) for _, value in values]
    x: Axis = horizontal([place for place, _ in values], _WIDTH, words, zero=joined)
    plot = Plot(x, vertical(reached, _HEIGHT, "mean retention", top=1.0), title)
    plot.rule(1.0)
    plot.rule(0.9, "r")
    for name, points in lines.items():
        series = names.index(name)
        ordered = sorted(points, key=lambda point: point[0])
        if joined:
            plot.line([(place, value.estimate) for place, value, _ in ordered], series_class(series))
        for place, value, about in ordered:
            plot.whisker(place, value.low, value.high, f"{series_class(series)} thin")
            plot.mark(place, value.estimate, series, f"{name}, {about}: {shown(value)}")
    named = [(f"{name}, {about}", value) for name, points in lines.items() for _, value, about in points]
    return plot.finish(f"{title + ': ' if title else ''}{extremes(named)}")
