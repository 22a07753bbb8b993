"""Charts of finetuned models beside pruned ones, and of quality against speed and memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from layerlimits.report.axes import Axis, horizontal, vertical
from layerlimits.report.charts.curves import KIND_WORDS, is_random, method_series
from layerlimits.report.drawing import Drawing, Plot, series_class
from layerlimits.report.figure import Figure, Key, shown
from layerlimits.results.document import StudyResults
from layerlimits.results.harm import objective_words
from layerlimits.results.rows import Recovery, Regained, Speed
from layerlimits.types import Estimate, Kind

_HEIGHT, _POINT_ROOM = 132.0, 30.0
_PARETO_WIDTH, _PARETO_HEIGHT = 290.0, 220.0
# Series of the kinds of models beside the methods.
_UNPRUNED, _PRUNED = 6, 1


def recovery(results: StudyResults) -> Iterator[Figure]:
    """Scores by task of the unpruned, the pruned and the finetuned models; one figure per pruned model."""
    removals = dict.fromkeys((entry.method, entry.removed) for entry in results.recovery if entry.tasks)
    for number, (method, removed) in enumerate(removals):
        entries = [entry for entry in results.recovery if (entry.method, entry.removed) == (method, removed)]
        yield _recovery(f"recovery_{number}", [entry for entry in entries if entry.tasks])


def _recovery(name: str, entries: Sequence[Recovery]) -> Figure:
    first = entries[0]
    series = [place for place in range(len(entries) + 2) if place not in (_UNPRUNED, _PRUNED)]
    keys = [
        Key("unpruned", _UNPRUNED, "mark"),
        Key(f"{first.layers} layers removed by {first.method}", _PRUNED, "mark"),
    ]
    for place, entry in zip(series, entries, strict=False):
        keys.append(Key(f"finetuned: {entry.name}, {objective_words(entry)}", place, "mark"))
    panels = []
    for row in first.tasks:
        others = [next((task for task in entry.tasks if task.task == row.task), None) for entry in entries]
        panels.append(_dots(row, others, keys))
    return Figure(
        name,
        f"Scores before and after finetuning: {first.layers} layers removed by {first.method}",
        f"Mean scores with 95% intervals on the same items (n = {first.tasks[0].base.n} in {first.tasks[0].task}).",
        tuple(panels),
        tuple(keys),
        table=f"{name}",
    )


def _dots(row: Regained, others: Sequence[Regained | None], keys: Sequence[Key]) -> Drawing:
    values = [row.base, row.pruned, *(other.recovered if other else None for other in others)]
    axis = Axis(-0.5, len(values) - 0.5, max(116.0, _POINT_ROOM * len(values)))
    plot = Plot(axis, vertical([0.0, 1.0], _HEIGHT, "score"), row.task)
    plot.rule(row.base.estimate, "r")
    shows = []
    for place, (value, key) in enumerate(zip(values, keys, strict=True)):
        if value:
            tip = f"{key.label}: {shown(value)}"
            plot.whisker(place, value.low, value.high, series_class(key.series))
            plot.mark(place, value.estimate, key.series, tip)
            shows.append(tip)
    return plot.finish(f"{row.task}: {'; '.join(shows)}.")


@dataclass(frozen=True)
class Option:
    """A model in a chart of quality against cost: its name, series and style, and its values."""

    name: str
    series: int
    style: str
    quality: Estimate
    speedup: float | None
    size: float | None


def pareto(results: StudyResults) -> Figure | None:
    """Retention of each class against speed and memory, over methods, finetuned, quantized and other models."""
    panels, keys = [], dict[str, Key]()
    unit, bytes_each = ("MB", 1e6) if results.model.weight_bytes < 1e9 else ("GB", 1e9)
    for kind, words in KIND_WORDS.items():
        options = list(_options(results, kind, bytes_each))
        if len(options) < 2:
            continue
        for key in _keys(options):
            keys.setdefault(key.label, key)
        for value, title in (("speedup", "decoding speed, unpruned = 1"), ("size", f"size of the weights ({unit})")):
            panels.append(_cloud(words, options, value, title))
    if not panels:
        return None
    return Figure(
        "pareto",
        "Quality against speed and memory",
        "Mean retention with 95% intervals; faster models are further right, smaller ones further left. The line joins "
        "the models that no other one surpasses in both. Models with as many layers have the speed of the timed one.",
        tuple(panels),
        tuple(keys.values()),
        table="options",
    )


def _options(results: StudyResults, kind: Kind, bytes_each: float) -> Iterator[Option]:
    timed: Mapping[int, Speed] = {len(row.removed): row for row in results.speed}
    base, series = timed.get(0), method_series(results)
    size = base.weight_bytes / bytes_each if base else None
    if any(row.kind == kind for row in results.classes):
        yield Option("unpruned", _UNPRUNED, "m", Estimate(1.0, 1.0, 1.0, 0), 1.0 if base else None, size)
    for row in results.classes:
        speed = timed.get(row.layers)
        if row.kind == kind and row.adjusted_retention and speed and speed.speedup:
            style = "m gray" if is_random(row.method) else "m"
            name = f"{row.method}, {row.layers} removed"
            gains = speed.speedup.estimate, speed.weight_bytes / bytes_each
            yield Option(name, series.get(row.method, 0), style, row.adjusted_retention, *gains)
    for entry in results.recovery:
        speed = timed.get(entry.layers)
        value = next((part.retention for part in entry.classes if part.kind == kind), None)
        if value and speed and speed.speedup:
            name = f"{entry.method}, {entry.layers} removed, finetuned ({entry.name})"
            gains = speed.speedup.estimate, speed.weight_bytes / bytes_each
            yield Option(name, series.get(entry.method, 0), "o", value, *gains)
    for number, other in enumerate(other for other in results.alternatives if other.kind in ("quantized", "sibling")):
        value = next((part.retention for part in other.classes if part.kind == kind), None)
        if value:
            gains = other.speedup.estimate, other.weight_bytes / bytes_each
            yield Option(other.name, len(series) + number, "m other", value, *gains)


def _keys(options: Sequence[Option]) -> Iterator[Key]:
    for option in options:
        finetuned = ", finetuned" if option.style == "o" else ""
        label = option.name if "other" in option.style else option.name.partition(",")[0] + finetuned
        style = {"o": "hollow", "m gray": "gray mark"}.get(option.style, "mark")
        yield Key("random" if style == "gray mark" else label, option.series, style)


def _cloud(title: str, options: Sequence[Option], value: str, words: str) -> Drawing:
    shown_options = [option for option in options if getattr(option, value) is not None]
    places = [float(getattr(option, value)) for option in shown_options]
    top = max(1.2, *(option.quality.estimate for option in shown_options))
    reached = [min(option.quality.high, top) for option in shown_options]
    lowest = [min(0.0, option.quality.estimate) for option in shown_options]
    x = horizontal(places, _PARETO_WIDTH, words, zero=value == "size")
    plot = Plot(x, vertical([*reached, *lowest], _PARETO_HEIGHT, "mean retention"), title)
    plot.rule(1.0)
    best = frontier([(place if value == "speedup" else -place, option.quality.estimate)
                     for place, option in zip(places, shown_options, strict=True)])  # fmt: skip
    plot.line([(places[each], shown_options[each].quality.estimate) for each in best], "gray")
    for place, option in zip(places, shown_options, strict=True):
        gray = "gray" if "gray" in option.style else series_class(option.series)
        plot.whisker(place, option.quality.low, option.quality.high, f"{gray} thin")
    for place, option in zip(places, shown_options, strict=True):
        quality = f"retention {shown(option.quality)}" if option.quality.n else "retention 1 by definition"
        unit = "times the speed" if value == "speedup" else words.rpartition("(")[2].rstrip(")")
        plot.mark(
            place, option.quality.estimate, option.series, f"{option.name}: {quality}; {place:.3g} {unit}", option.style
        )
    names = ", ".join(shown_options[each].name for each in best)
    return plot.finish(f"{title}, against {words}: not surpassed are {names}.")


def frontier(points: Sequence[tuple[float, float]]) -> list[int]:
    """The positions of the points that no other point surpasses in one value and reaches in the other, ascending.

    Args:
        points: (gain, quality); more is better.
    """
    best, found = float("-inf"), []
    for place in sorted(range(len(points)), key=lambda each: (-points[each][0], -points[each][1])):
        if points[place][1] > best:
            best = points[place][1]
            found.append(place)
    return found[::-1]
