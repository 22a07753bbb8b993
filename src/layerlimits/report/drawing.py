"""SVG drawings: one panel of a chart with its axes and marks, styled by the classes of `chart_style`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from layerlimits.report.axes import Axis, text_width

# The classes of text are k (ticks, 11 px), t (values, 11 px) and h (titles, 13 px, bold); see `style.py`.
_TICK_SIZE, _TITLE_SIZE = 11.0, 13.0
# Bold letters are wider.
_BOLD_SIZE = 1.12 * _TITLE_SIZE
_ROW = 16.0
_RIGHT = 12.0
_WIDEST_TITLE = 300.0
# Outlines of marks around the origin, 4 pixels in radius.
_SHAPES = (
    "m-4,0a4,4 0 1,0 8,0a4,4 0 1,0-8,0z",
    "m-3.6-3.6h7.2v7.2h-7.2z",
    "m0-5l5,5l-5,5l-5-5z",
    "m0-4.6l4.6,8h-9.2z",
    "m0,4.6l4.6-8h-9.2z",
    "m-1.6-4.6h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3z",
    "m0-4.8l4.6,3.4l-1.8,5.4h-5.6l-1.8-5.4z",
    "m-2.5-4.3h5l2.5,4.3l-2.5,4.3h-5l-2.5-4.3z",
)
COLORS = len(_SHAPES)

Point = tuple[float, float]
Span = tuple[float, float, float]


@dataclass(frozen=True)
class Drawing:
    """A finished panel: size in pixels, SVG elements, and what it shows in one sentence."""

    width: float
    height: float
    body: str
    alt: str = ""


def series_class(series: int) -> str:
    """The classes of a series: its color, and from the ninth series on a dash style."""
    dash = series // COLORS
    return f"s{series % COLORS}" + (f" d{min(dash, 3)}" if dash else "")


def shape(series: int) -> str:
    """The id of the shape of the marks of a series; it changes with each cycle of colors."""
    return f"m{(series + series // COLORS) % len(_SHAPES)}"


def shapes() -> str:
    """The definitions of all shapes, which a document contains once."""
    paths = "".join(f'<path id="m{place}" d="{outline}"/>' for place, outline in enumerate(_SHAPES))
    return f"<defs>{paths}</defs>"


def number(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0").replace("-0", "-0" if abs(value) >= 0.05 else "0")


def text(x: float, y: float, content: str, style: str = "k", anchor: str = "start") -> str:
    """A text element."""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{style}" x="{number(x)}" y="{number(y)}"{place}>{escape(content)}</text>'


def shortened(content: str, width: float, size: float) -> str:
    """A text cut to a width in pixels, with an ellipsis."""
    if text_width(content, size) <= width:
        return content
    while content and text_width(content + "\u2026", size) > width:
        content = content[:-1]
    return content + "\u2026"


def titled(element: str, attributes: str, tip: str) -> str:
    """An element with a tooltip, which is also its text for screen readers."""
    return f"<{element} {attributes}><title>{escape(tip)}</title></{element}>"


@dataclass
class Plot:
    """A panel under construction.

    Args:
        x, y: The axes; positions of marks are in their units.
        title: Heading of the panel.
    """

    x: Axis
    y: Axis
    title: str = ""
    marks: list[str] = field(default_factory=list)

    def band(self, spans: Sequence[Span], series: str) -> None:
        """A filled band between low and high, by (x, low, high)."""
        upper = [self._place(x, high) for x, _, high in spans]
        lower = [self._place(x, low) for x, low, _ in reversed(spans)]
        self.marks.append(f'<path class="b {series}" d="M{"L".join([*upper, *lower])}z"/>')

    def line(self, points: Iterable[Point], series: str) -> None:
        """A line through points."""
        places = [self._place(*point) for point in points]
        if len(places) > 1:
            self.marks.append(f'<path class="l {series}" d="M{"L".join(places)}"/>')

    def whisker(self, x: float, low: float, high: float, series: str) -> None:
        """A vertical interval."""
        place, top, bottom = number(self.x.at(x)), number(self.y.at(high)), number(self.y.at(low))
        self.marks.append(f'<path class="e {series}" d="M{place},{top}V{bottom}"/>')

    def mark(self, x: float, y: float, series: int, tip: str, style: str = "m") -> None:
        """A mark in the shape of its series; style "m" is filled, "o" hollow, and "m gray" that of the context."""
        place = f'x="{number(self.x.at(x))}" y="{number(self.y.at(y))}"'
        attributes = f'class="{style} {series_class(series)}" href="#{shape(series)}" {place}'
        self.marks.append(titled("use", attributes, tip))

    def cell(self, left: float, right: float, row: float, fill: str, tip: str, inset: float = 0.5) -> None:
        """A filled rectangle in a row; `fill` is a color, or a class such as ".s1"."""
        x, width = self.x.at(left) + inset, self.x.at(right) - self.x.at(left) - 2 * inset
        y, height = self.y.at(row - 0.5) + 0.5, self.y.at(row + 0.5) - self.y.at(row - 0.5) - 1
        paint = f'class="m {fill[1:]}"' if fill.startswith(".") else f'class="c" fill="{fill}"'
        size = f'x="{number(x)}" y="{number(y)}" width="{number(max(width, 0.4))}" height="{number(height)}"'
        self.marks.append(titled("rect", f"{paint} {size}", tip))

    def row(self, columns: int, row: float) -> None:
        """The outlines of the cells of a row, column i between i and i + 1."""
        top, bottom = number(self.y.at(row - 0.5) + 0.5), number(self.y.at(row + 0.5) - 0.5)
        ends = f"M0,{top}H{number(self.x.at(columns))}M0,{bottom}H{number(self.x.at(columns))}"
        lines = "".join(f"M{number(self.x.at(place))},{top}V{bottom}" for place in range(columns + 1))
        self.marks.append(f'<path class="g" d="{ends}{lines}"/>')

    def label(self, x: float, y: float, content: str, style: str = "k", shift: Point = (0, 0)) -> None:
        """A centered text at a position, moved by `shift` pixels."""
        self.marks.append(text(self.x.at(x) + shift[0], self.y.at(y) + shift[1], content, style, "middle"))

    def rule(self, y: float, style: str = "a") -> None:
        """A horizontal line across the panel."""
        self.marks.append(f'<path class="{style}" d="M0,{number(self.y.at(y))}H{number(self.x.length)}"/>')

    def _place(self, x: float, y: float) -> str:
        return f"{number(self.x.at(x))},{number(self.y.at(y))}"

    def finish(self, alt: str = "") -> Drawing:
        """The drawing, with room for ticks and titles."""
        left = max((text_width(label, _TICK_SIZE) for _, label in self.y.ticks), default=0) + 8
        # A title may be wider than its axis.
        beyond = (text_width(self.x.title, _TICK_SIZE) - self.x.length) / 2
        left = max(left, beyond) + (_ROW if self.y.title else 0)
        head = _TITLE_SIZE + 9 if self.title else 6
        ticked = _ROW if self.x.ticks else 0
        foot = (ticked + 2 if ticked else 8) + (_ROW if self.x.title else 0)
        width = left + self.x.length + max(_RIGHT, beyond)
        width, height = max(width, min(text_width(self.title, _BOLD_SIZE), _WIDEST_TITLE)), head + self.y.length + foot
        parts = []
        if self.title:
            parts.append(text(0, _TITLE_SIZE - 1, shortened(self.title, width, _BOLD_SIZE), "h"))
        if self.y.title:
            middle = head + self.y.length / 2
            parts.append(
                f'<text class="k" transform="translate(11 {number(middle)}) rotate(-90)" text-anchor="middle">'
                f"{escape(self.y.title)}</text>"
            )
        body = "".join([*self._grid(), *self.marks])
        parts.append(f'<g transform="translate({number(left)} {number(head)})">{body}</g>')
        return Drawing(width, height, "".join(parts), alt)

    def _grid(self) -> Iterable[str]:
        """Grid lines, ticks, and the title of the horizontal axis."""
        right, bottom = number(self.x.length), self.y.length
        for value, label in self.y.ticks:
            place = self.y.at(value)
            if not self.y.rows:
                yield f'<path class="g" d="M0,{number(place)}H{right}"/>'
            yield text(-6, place + 4, label, "k", "end")
        for value, label in self.x.ticks:
            place = self.x.at(value)
            yield text(place, bottom + 14, label, "k", "middle")
        if not self.y.rows:
            yield f'<path class="a" d="M0,{number(bottom)}H{right}"/>'
        if self.x.title:
            yield text(self.x.length / 2, bottom + (30 if self.x.ticks else 14), self.x.title, "k", "middle")
