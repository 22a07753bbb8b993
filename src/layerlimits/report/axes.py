"""Axes of drawings: from values to pixels, with ticks that do not overlap."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Widths of characters in units of the font size, for the sans-serif fonts of browsers; rather too wide than too narrow.
_NARROW, _WIDE = frozenset("iljtfrI.,:;|'!()[] /-"), frozenset("mwMW%@")
_WIDTHS = (0.42, 1.0, 0.66)
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
# Least distance of the ticks of layers, in pixels.
_LAYER_ROOM = 22.0


def text_width(text: str, size: float) -> float:
    """Estimated width of a text in pixels; characters beyond Latin scripts count as square."""
    narrow, wide, other = _WIDTHS
    units = 0.0
    for letter in text:
        if letter in _NARROW:
            units += narrow
        elif letter in _WIDE or ord(letter) > 0x2FF:
            units += wide
        else:
            units += other
    return units * size


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic axis.

    Args:
        low, high: Its range; values beyond are drawn at its ends.
        length: Pixels.
        ticks: Values with their labels.
        title: What it shows, with the unit.
        log: Whether it is logarithmic.
        upward: Whether values grow upward, as on a vertical axis of numbers.
        rows: Whether it has rows instead of numbers.
    """

    low: float
    high: float
    length: float
    ticks: tuple[tuple[float, str], ...] = ()
    title: str = ""
    log: bool = False
    upward: bool = False
    rows: bool = False

    def at(self, value: float) -> float:
        """The position of a value in pixels."""
        low, high, clipped = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, clipped = math.log(low), math.log(high), math.log(clipped)
        share = (clipped - low) / (high - low)
        return (1 - share if self.upward else share) * self.length


def nice_step(span: float, count: int) -> float:
    """A round step that divides a span into at most `count` parts."""
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step * power for step in _STEPS if step * power >= raw * (1 - 1e-9))


def _ticks(low: float, high: float, step: float) -> tuple[tuple[float, str], ...]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [round(number * step, 10) for number in range(first, last + 1)]
    return tuple((value, f"{value:g}" if abs(value) < 1e5 else f"{value:.0e}") for value in values)


def vertical(values: Sequence[float], length: float, title: str, *, zero: bool = True, top: float = 0.0) -> Axis:
    """A vertical axis of numbers that covers values.

    Args:
        values: What it covers.
        length: Pixels.
        title: Its title.
        zero: Whether it includes 0.
        top: Least upper end.
    """
    return _numbers(values, length, title, zero=zero, top=top, count=5, upward=True)


def horizontal(values: Sequence[float], length: float, title: str, *, zero: bool = True) -> Axis:
    """A horizontal axis of numbers that covers values; see `vertical`."""
    return _numbers(values, length, title, zero=zero, top=0.0, count=max(2, int(length // 42)), upward=False)


def _numbers(
    values: Sequence[float], length: float, title: str, *, zero: bool, top: float, count: int, upward: bool
) -> Axis:
    low, high = min(values, default=0.0), max([*values, top])
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low < 1e-9:
        high = low + (abs(low) or 1.0)
    step = nice_step(high - low, count)
    if not upward and high - low >= 2 and all(float(value).is_integer() for value in values):
        step = float(max(1, math.ceil(step)))
    # A little room, so that marks at the ends are whole.
    room = 0.03 * (high - low)
    low, high = low - (0 if zero and low == 0 and upward else room), high + room
    return Axis(low, high, length, _ticks(low, high, step), title, upward=upward)


def counts(highest: int, length: float, title: str) -> Axis:
    """A horizontal axis of numbers of layers from 0 to `highest`, with whole ticks in that range."""
    step = max(1, math.ceil(nice_step(max(highest, 1), max(1, int(length // _LAYER_ROOM)))))
    ticks = tuple((float(value), str(value)) for value in range(0, highest + 1, step))
    # Half a layer of room, so that marks at the ends are whole.
    return Axis(-0.35, highest + 0.35, length, ticks, title)


def columns(count: int, length: float, title: str) -> Axis:
    """A horizontal axis of `count` columns for layers; column i lies between i and i + 1."""
    step = max(1, math.ceil(nice_step(max(count - 1, 1), max(1, int(length // _LAYER_ROOM)))))
    ticks = tuple((value + 0.5, str(value)) for value in range(0, count, step))
    return Axis(0, count, length, ticks, title)


def logarithmic(low: float, high: float, length: float, title: str) -> Axis:
    """A horizontal logarithmic axis with ticks at powers of ten, or at its ends if it has less than two of them."""
    powers = [10.0**power for power in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    values = powers if len(powers) > 1 else [low, high]
    return Axis(low, high, length, tuple((value, si(value)) for value in values), title, log=True)


def listed(labels: Sequence[str], row: float) -> Axis:
    """A vertical axis with a row for each label, `row` pixels high; row i is centered at i."""
    ticks = tuple((float(place), label) for place, label in enumerate(labels))
    return Axis(-0.5, len(labels) - 0.5, row * len(labels), ticks, rows=True)


def si(value: float) -> str:
    """A number in short form: 1,500 becomes 1.5k."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
