"""The chart that a notebook shows for a sweep: SVG of a few kilobytes, which needs no script and no network."""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from layerlimits.types import Estimate

# A line of a chart: (layer, figure) pairs, by layer.
Points = Sequence[tuple[int, Estimate]]

# Okabe and Ito's palette, which color-blind readers can distinguish; further lines are dashed.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
_DASHES = ("", "6 4", "2 3")

_WIDTH, _HEIGHT = 720, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 12, 44
_LEGEND_ROW, _LEGEND_COLUMNS = 20, 3
_TEXT = 'font-family="system-ui, sans-serif" font-size="12" fill="#1c2430"'


def retention_chart(layers: int, lines: Mapping[str, Points]) -> str:
    """Retention against the skipped layer as an SVG element, one line per task; hovering shows intervals and n.

    Args:
        layers: number of layers of the model.
        lines: retention by layer for each task; layers without a retention are left out.
    """
    top = max([1.0, *(figure.estimate for points in lines.values() for _, figure in points)]) * 1.08
    axes = _Axes(layers, top)
    rows = -(-len(lines) // _LEGEND_COLUMNS)
    height = _HEIGHT + rows * _LEGEND_ROW
    drawn = [axes.grid()]
    for number, (name, points) in enumerate(lines.items()):
        drawn += [_line(axes, name, points, _style(number)), _legend_entry(name, number)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img"><rect width="{_WIDTH}" height="{height}" fill="white"/>{"".join(drawn)}</svg>'
    )


class _Axes:
    """From layers and retention to positions in the chart."""

    def __init__(self, layers: int, top: float) -> None:
        self.layers, self.top = layers, top

    def x(self, layer: int) -> float:
        return round(_LEFT + (layer + 0.5) / self.layers * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, retention: float) -> float:
        share = min(max(retention / self.top, 0.0), 1.0)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    def grid(self) -> str:
        """Grid lines, numbers and titles of both axes."""
        parts = []
        step = 0.25 if self.top <= 2.5 else float(round(self.top / 8) or 1)
        for number in range(int(self.top / step) + 1):
            level = self.y(number * step)
            color = "#9aa3b0" if number * step in (0, 1) else "#e6e8ec"
            parts.append(f'<path d="M{_LEFT} {level}H{_WIDTH - _RIGHT}" stroke="{color}"/>')
            parts.append(f'<text x="{_LEFT - 8}" y="{level + 4}" text-anchor="end" {_TEXT}>{number * step:g}</text>')
        baseline = _HEIGHT - _BOTTOM
        for layer in range(0, self.layers, max(1, -(-self.layers // 32))):
            parts.append(f'<text x="{self.x(layer)}" y="{baseline + 18}" text-anchor="middle" {_TEXT}>{layer}</text>')
        middle = (_TOP + baseline) / 2
        parts.append(f'<text x="{_WIDTH / 2}" y="{baseline + 38}" text-anchor="middle" {_TEXT}>layer skipped</text>')
        parts.append(
            f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle" {_TEXT}>'
            "retention (score / unpruned score)</text>"
        )
        return "".join(parts)


def _style(number: int) -> str:
    color = _COLORS[number % len(_COLORS)]
    dash = _DASHES[number // len(_COLORS) % len(_DASHES)]
    return f'stroke="{color}" fill="{color}"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _line(axes: _Axes, name: str, points: Points, style: str) -> str:
    marks = [_connected(axes, run) for run in _consecutive(points)]
    for layer, figure in points:
        x, y = axes.x(layer), axes.y(figure.estimate)
        interval = f"{figure.low:.2f} to {figure.high:.2f}"
        text = escape(f"{name}, layer {layer}: {figure.estimate:.2f} ({interval}), n = {figure.n}")
        marks.append(f'<path d="M{x} {axes.y(figure.low)}V{axes.y(figure.high)}" opacity="0.35"/>')
        marks.append(f'<circle cx="{x}" cy="{y}" r="4" stroke="none"><title>{text}</title></circle>')
    return f"<g {style}>{''.join(marks)}</g>"


def _connected(axes: _Axes, points: Points) -> str:
    places = " ".join(f"{axes.x(layer)},{axes.y(figure.estimate)}" for layer, figure in points)
    return f'<polyline points="{places}" fill="none" stroke-width="2"/>'


def _consecutive(points: Points) -> list[Points]:
    """The points in parts of consecutive layers; a line across layers that were not skipped would invent figures."""
    starts = [place for place, (layer, _) in enumerate(points) if place == 0 or layer != points[place - 1][0] + 1]
    return [points[start:end] for start, end in pairwise([*starts, len(points)])]


def _legend_entry(name: str, number: int) -> str:
    row, column = divmod(number, _LEGEND_COLUMNS)
    x, y = _LEFT + column * (_WIDTH - _LEFT) // _LEGEND_COLUMNS, _HEIGHT + row * _LEGEND_ROW + 6
    return (
        f'<path d="M{x} {y}h22" stroke-width="2" {_style(number)}/>'
        f'<text x="{x + 28}" y="{y + 4}" {_TEXT}>{escape(name)}</text>'
    )
