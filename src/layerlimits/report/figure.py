"""Figures: panels with a legend. The page shows panels side by side; files contain a figure as one SVG."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from layerlimits.report.axes import text_width
from layerlimits.report.drawing import Drawing, number, series_class, shape, shapes, text
from layerlimits.report.style import chart_style
from layerlimits.types import Estimate

_GAP, _WIDEST, _LEGEND_ROW, _SWATCH = 14.0, 1040.0, 20.0, 26.0


@dataclass(frozen=True)
class Key:
    """An entry of a legend.

    Args:
        label: The name of the series.
        series: Its number.
        style: line, mark, hollow, cell, gray (a gray line), or gray mark.
    """

    label: str
    series: int
    style: str = "line"

    @property
    def classes(self) -> str:
        """The classes of the marks of the series."""
        return "gray" if self.style.startswith("gray") else series_class(self.series)

    def swatch(self) -> str:
        """SVG elements in 22 x 12 pixels."""
        name = series_class(self.series)
        if self.style == "gray":
            return '<path class="b gray" d="M0,1h22v10h-22z"/><path class="l gray" d="M0,6H22"/>'
        if self.style == "cell":
            return f'<path class="m {name}" d="M2,0h18v12h-18z"/>'
        line = f'<path class="l {name}" d="M0,6H22"/>' if self.style == "line" else ""
        look = {"hollow": "o", "gray mark": "m gray"}.get(self.style, "m")
        return f'{line}<use class="{look} {name}" href="#{shape(self.series)}" x="11" y="6"/>'


@dataclass(frozen=True)
class Figure:
    """A chart.

    Args:
        name: Name of its element and of its files.
        title: What is seen.
        caption: How to read it: what intervals and n are, and the unit.
        panels: Its drawings.
        legend: Its series.
        table: Name of the table with its numbers; empty if there is none.
    """

    name: str
    title: str
    caption: str
    panels: tuple[Drawing, ...]
    legend: tuple[Key, ...] = ()
    table: str = ""

    @property
    def alt(self) -> str:
        """What it shows, for readers who do not see it."""
        return " ".join([f"{self.title}.", *(panel.alt for panel in self.panels if panel.alt)])


def standalone(figure: Figure, width: float = _WIDEST) -> str:
    """The figure as one SVG document with its title, panels in rows, and legend."""
    title = text(0, 15, figure.title, "h")
    parts, bottom, right = _rows(figure.panels, 26.0, max(width, *(panel.width for panel in figure.panels)))
    parts = [title, *parts]
    right = max(right, text_width(figure.title, 13))
    entries, bottom = _legend(figure.legend, bottom, right)
    size = f'width="{number(right)}" height="{number(bottom)}" viewBox="0 0 {number(right)} {number(bottom)}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><title>{escape(figure.alt)}</title>'
        f'<style>{chart_style()}</style>{shapes()}<rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join([*parts, *entries])}</svg>"
    )


def _rows(panels: Sequence[Drawing], top: float, width: float) -> tuple[list[str], float, float]:
    """Panels in rows that fit into a width: their elements, the lower end and the right end."""
    parts, x, height, right = [], 0.0, 0.0, 0.0
    for panel in panels:
        if x and x + panel.width > width:
            x, top, height = 0.0, top + height + _GAP, 0.0
        parts.append(f'<g transform="translate({number(x)} {number(top)})">{panel.body}</g>')
        right, height = max(right, x + panel.width), max(height, panel.height)
        x += panel.width + _GAP
    return parts, top + height, right


def _legend(keys: Iterable[Key], top: float, width: float) -> tuple[list[str], float]:
    parts, x, y = [], 0.0, top + 10
    for key in keys:
        room = _SWATCH + text_width(key.label, 11) + 18
        if x and x + room > width:
            x, y = 0.0, y + _LEGEND_ROW
        parts.append(f'<g transform="translate({number(x)} {number(y)})">{key.swatch()}</g>')
        parts.append(text(x + _SWATCH, y + 10, key.label))
        x += room
    return parts, y + _LEGEND_ROW if parts else top + 4


def shown(value: Estimate, digits: int = 2) -> str:
    """An estimate with its interval and n, for tooltips: 0.53 (0.41 to 0.62), n = 48."""
    return f"{value.estimate:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f}), n = {value.n:,}"


def extremes(values: Sequence[tuple[str, Estimate]]) -> str:
    """The lowest and the highest of named estimates in a sentence; empty without values."""
    if not values:
        return ""
    low, high = min(values, key=lambda each: each[1].estimate), max(values, key=lambda each: each[1].estimate)
    if low == high:
        return f"{low[0]}: {shown(low[1])}."
    return f"Lowest: {low[0]}, {shown(low[1])}. Highest: {high[0]}, {shown(high[1])}."
