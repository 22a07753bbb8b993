"""Curves over the number of removed layers, one panel per method, and over trained tokens."""

from collections.abc import Iterator, Mapping, Sequence

from layerlimits.report.axes import Axis, counts, logarithmic, vertical
from layerlimits.report.drawing import Drawing, Plot, series_class
from layerlimits.report.figure import Figure, Key, extremes, shown
from layerlimits.results.curves import CurveLine, RecoveryCurve
from layerlimits.results.document import StudyResults
from layerlimits.results.harm import objective_words
from layerlimits.results.rows import Recovery
from layerlimits.types import Estimate, Kind

KIND_WORDS: Mapping[Kind, str] = {"generation": "Generation", "choice": "Multiple choice, corrected for chance"}
_WIDTH, _HEIGHT = 176.0, 132.0
# Intervals of few items reach far beyond the estimates; the axis ends where estimates do, or at this retention.
_TOP = 1.3
# Where the pruned model, which has 0 tokens, stands on the logarithmic axis, as a fraction of the first milestone.
_ZERO_FRAC = 0.5
Points = Sequence[tuple[int, Estimate]]


def method_series(results: StudyResults) -> dict[str, int]:
    """The number of the series of each method, the same in all charts; the seeds of `random` share one."""
    names = dict.fromkeys(
        [
            *(row.method for row in results.methods),
            *(row.method for row in results.classes),
            *(row.method for row in results.pruned),
        ]
    )
    return {name: place for place, name in enumerate(name for name in names if not is_random(name))}


def is_random(method: str) -> bool:
    """Whether a method removes layers at random, with any seed."""
    return method.partition(":")[0] == "random"


def retention(results: StudyResults, kind: Kind) -> Figure | None:
    """Mean retention of a class over the number of removed layers: a panel per method, over the others in gray."""
    lines: dict[str, list[tuple[int, Estimate]]] = {}
    for row in results.classes:
        if row.kind == kind and (value := row.adjusted_retention):
            lines.setdefault(row.method, []).append((row.layers, value))
    if not lines:
        return None
    chance = [points for method, points in lines.items() if is_random(method)]
    series = method_series(results)
    axis, height = _axes(lines)
    panels = [
        _method(method, lines, series[method], axis, height, random_band(chance))
        for method in lines
        if not is_random(method)
    ]
    panels += [_random(chance, axis, height)] if chance else []
    seeds = f"{len(chance)} seed{'s' * (len(chance) > 1)}"
    return Figure(
        f"retention_{kind}",
        f"{KIND_WORDS[kind]}: mean retention by number of layers removed",
        "Each panel shows one method with its 95% interval as a band, over the other methods as thin lines"
        + (f" and the range of random removal ({seeds}) in gray" if chance else "")
        + ". The dotted line marks 90% of the unpruned model. Intervals that reach beyond the axis are cut; tooltips "
        "and the table have them.",
        tuple(panels),
        table="classes",
    )


def _axes(lines: Mapping[str, Points]) -> tuple[Axis, Axis]:
    values = [value for points in lines.values() for _, value in points]
    highest = max(layers for points in lines.values() for layers, _ in points)
    top = max(_TOP, *(value.estimate for value in values))
    reached = [min(value.high, top) for value in values] + [min(0.0, value.estimate) for value in values]
    return counts(highest, _WIDTH, "layers removed"), vertical(reached, _HEIGHT, "mean retention", top=1.0)


def random_band(chance: Sequence[Points]) -> list[tuple[float, float, float]]:
    """The range of the estimates of all seeds by number of layers; of a single seed, its interval."""
    by_count: dict[int, list[Estimate]] = {}
    for points in chance:
        for layers, value in points:
            by_count.setdefault(layers, []).append(value)
    spans = []
    for layers, values in sorted(by_count.items()):
        estimates = [value.estimate for value in values]
        low, high = (min(estimates), max(estimates)) if len(values) > 1 else (values[0].low, values[0].high)
        spans.append((float(layers), low, high))
    return spans


def _method(
    method: str,
    lines: Mapping[str, Points],
    series: int,
    x: Axis,
    y: Axis,
    gray: Sequence[tuple[float, float, float]],
) -> Drawing:
    plot = _framed(method, x, y)
    if len(gray) > 1:
        plot.band(gray, "gray")
    for other, points in lines.items():
        if other != method and not is_random(other):
            plot.line([(layers, value.estimate) for layers, value in points], "gray thin")
    _curve(plot, method, lines[method], series)
    return plot.finish(
        f"{method}: {extremes([(f'{layers} layers removed', value) for layers, value in lines[method]])}"
    )


def _framed(title: str, x: Axis, y: Axis) -> Plot:
    plot = Plot(x, y, title)
    plot.rule(1.0)
    plot.rule(0.9, "r")
    return plot


def _curve(plot: Plot, name: str, points: Points, series: int) -> None:
    style = series_class(series)
    if len(points) > 1:
        plot.band([(layers, value.low, value.high) for layers, value in points], style)
    plot.line([(layers, value.estimate) for layers, value in points], style)
    for layers, value in points:
        plot.whisker(layers, value.low, value.high, style)
        plot.mark(layers, value.estimate, series, f"{name}, {layers} removed: {shown(value)}")


def _random(chance: Sequence[Points], x: Axis, y: Axis) -> Drawing:
    plot = _framed(f"random, {len(chance)} seed{'s' * (len(chance) > 1)}", x, y)
    spans = random_band(chance)
    if len(spans) > 1:
        plot.band(spans, "gray")
    for number, points in enumerate(chance):
        for layers, value in points:
            if len(chance) == 1:
                plot.whisker(layers, value.low, value.high, "gray")
            tip = f"random, seed {number + 1} of {len(chance)}, {layers} removed: {shown(value)}"
            plot.mark(layers, value.estimate, 0, tip, "m gray")
    named = [(f"{layers} layers removed", value) for points in chance for layers, value in points]
    return plot.finish(f"random: {extremes(named)}")


def recovery_curves(results: StudyResults) -> Iterator[tuple[Figure, tuple[str, ...]]]:
    """The curves of the finetuned models that were evaluated during their training, each with its sentences."""
    for number, entry in enumerate(results.recovery):
        if entry.curve and entry.curve.lines:
            yield _recovery_curve(f"curve_{number}", entry, entry.curve), tuple(sentences(entry.curve))


def _recovery_curve(name: str, entry: Recovery, curve: RecoveryCurve) -> Figure:
    first = min((point.tokens for point in curve.lines[0].points if point.tokens > 0), default=1)
    last = max(point.tokens for point in curve.lines[0].points)
    projected = any(line.saturation.ten_times for line in curve.lines)
    low, high = first * _ZERO_FRAC, max(last * (10 if projected else 1), first)
    x = logarithmic(low, high, _WIDTH, "trained tokens")
    title = f"{entry.layers} layers removed by {entry.method}, finetuned ({entry.name}, {objective_words(entry)})"
    return Figure(
        name,
        f"Scores and losses during finetuning: {title}",
        "Scores on select items with 95% intervals; the leftmost mark is the pruned model before training. The hollow "
        "mark is the projection for ten times the tokens with its 90% interval, the dotted line the projected ceiling.",
        (*(_line(line, x, first) for line in curve.lines), *_losses(curve, x, first)),
        (
            Key("score on select items", 0),
            Key("projection", 0, "hollow"),
            Key("training loss", 4),
            Key("held-out loss", 6),
        ),
    )


def _place(tokens: float, first: int) -> float:
    return tokens if tokens > 0 else first * _ZERO_FRAC


def _line(line: CurveLine, x: Axis, first: int) -> Drawing:
    name = f"{line.name} (mean)" if len(line.tasks) > 1 else line.name
    plot = Plot(x, vertical([0.0, 1.0], _HEIGHT, "score"), name)
    style = series_class(0)
    points = [(_place(point.tokens, first), point.score) for point in line.points]
    plot.band([(tokens, score.low, score.high) for tokens, score in points], style)
    plot.line([(tokens, score.estimate) for tokens, score in points], style)
    fitted = line.saturation
    if fitted.ten_times and fitted.ceiling:
        tokens, ten = 10 * points[-1][0], fitted.ten_times
        plot.rule(fitted.ceiling.estimate, "r")
        plot.whisker(tokens, ten.low, ten.high, style)
        tip = f"{name}, projected for {tokens:,.0f} tokens: {ten.estimate:.2f} ({ten.low:.2f} to {ten.high:.2f}, 90%)"
        plot.mark(tokens, ten.estimate, 0, tip, "o")
    for (tokens, score), point in zip(points, line.points, strict=True):
        kept = f"; retention {shown(point.retention)}" if point.retention else ""
        plot.mark(tokens, score.estimate, 0, f"{name}, {point.tokens:,} tokens: {shown(score)}{kept}")
    return plot.finish(f"{name}: {extremes([(f'{point.tokens:,} tokens', point.score) for point in line.points])}")


def _losses(curve: RecoveryCurve, x: Axis, first: int) -> Iterator[Drawing]:
    if not curve.losses:
        return
    both = {"training loss": (4, "train"), "held-out loss": (6, "heldout")}
    values = [getattr(point, key) for _, key in both.values() for point in curve.losses]
    plot = Plot(x, vertical(values, _HEIGHT, "nats per token"), "loss")
    for name, (series, key) in both.items():
        plot.line([(_place(point.tokens, first), getattr(point, key)) for point in curve.losses], series_class(series))
        for point in curve.losses:
            value = getattr(point, key)
            plot.mark(_place(point.tokens, first), value, series, f"{name}, {point.tokens:,} tokens: {value:.3f}")
    end = curve.losses[-1]
    yield plot.finish(f"Loss after {end.tokens:,} tokens: training {end.train:.3f}, held out {end.heldout:.3f}.")


def sentences(curve: RecoveryCurve) -> Iterator[str]:
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
