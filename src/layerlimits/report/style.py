"""Colors of charts and pages, in light and in dark surroundings, and the style sheet of charts."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

# The Okabe-Ito palette, which color-blind readers can distinguish; the last two replace its yellow.
_SERIES_LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b87f00", "#56b4e9", "#1c2430", "#8c6d31")
_SERIES_DARK = ("#4aa8e0", "#f08a3c", "#2fc79a", "#e29cc4", "#e6b035", "#8fd0f7", "#e6e9ee", "#c2a269")
LIGHT = {
    "ink": "#1c2430", "soft": "#566070", "line": "#dfe3e8", "wash": "#f5f6f8", "paper": "#ffffff",
    "accent": "#00639c", "good": "#00694f", "bad": "#a33e00", "unsure": "#6b5200", "gray": "#9aa3b0",
    **{f"c{place}": color for place, color in enumerate(_SERIES_LIGHT)},
}  # fmt: skip
DARK = {
    "ink": "#e6e9ee", "soft": "#a9b2c0", "line": "#353d49", "wash": "#1d232c", "paper": "#14181f",
    "accent": "#6cbcf0", "good": "#4fd0a8", "bad": "#ff9d66", "unsure": "#e3c25a", "gray": "#6d7786",
    **{f"c{place}": color for place, color in enumerate(_SERIES_DARK)},
}  # fmt: skip

_FONT = "font-family:system-ui,-apple-system,'Segoe UI','Liberation Sans',Arial,sans-serif"

# Retention from 0 to 1 and beyond: red, white, blue (ColorBrewer's RdBu).
_RETENTION = (
    (0.0, "#b2182b"),
    (0.5, "#ef8a62"),
    (0.85, "#fddbc7"),
    (1.0, "#f7f7f7"),
    (1.25, "#92c5de"),
    (1.6, "#2166ac"),
)
# Any other quantity, as a part of its range: white to blue.
_RANGE = ((0.0, "#f7fbff"), (0.5, "#6baed6"), (1.0, "#08306b"))


def chart_style(colors: Mapping[str, str] | None = None) -> str:
    """The style sheet of charts.

    Args:
        colors: Colors by name; those of a light page if None. The page itself gives variables.
    """
    use = colors or LIGHT
    rules = [
        f".k,.t,.h{{{_FONT};font-size:11px;fill:{use['soft']}}}",
        f".t{{fill:{use['ink']}}}.h{{font-size:13px;font-weight:600;fill:{use['ink']}}}",
        ".w{fill:#fff}.u{fill:#1c2430}",
        f".g{{stroke:{use['line']};fill:none}}.a{{stroke:{use['gray']};fill:none}}",
        f".r{{stroke:{use['gray']};fill:none;stroke-dasharray:2 3}}",
        ".l{fill:none;stroke-width:2}.e{fill:none;stroke-width:1.5;stroke-opacity:.7}.b{fill-opacity:.18}",
        f".m{{stroke:{use['paper']};stroke-width:1}}.o{{fill:{use['paper']};stroke-width:2}}",
        ".d1{stroke-dasharray:7 4}.d2{stroke-dasharray:2 3}.d3{stroke-dasharray:8 3 2 3}",
        ".m.d1,.m.d2{fill-opacity:.6}.c{stroke:none}",
        f".thin{{stroke-width:1;stroke-opacity:.75}}.none{{fill:{use['wash']};stroke:{use['line']}}}",
    ]
    for place in range(len(_SERIES_LIGHT)):
        name, color = f"s{place}", use[f"c{place}"]
        rules.append(f".l.{name},.e.{name},.o.{name}{{stroke:{color}}}.b.{name},.m.{name}{{fill:{color}}}")
    # After the series, because marks of random removal have the shape of a series and this color.
    rules.append(f".l.gray,.e.gray{{stroke:{use['gray']}}}.b.gray,.m.gray{{fill:{use['gray']}}}")
    return "".join(rules)


def page_style() -> str:
    """The colors of the page as variables, for light and dark surroundings and for print, and the style of charts."""
    light, dark = _variables(LIGHT), _variables(DARK)
    return (
        f":root{{color-scheme:light dark;{light}}}@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
        f"{chart_style({name: f'var(--{name})' for name in LIGHT})}"
    )


def _variables(colors: Mapping[str, str]) -> str:
    return "".join(f"--{name}:{color};" for name, color in colors.items())


def retention_color(value: float) -> str:
    """The color of a retention: white at 1, red below, blue above."""
    return _between(_RETENTION, value)


def range_color(value: float, low: float, high: float) -> str:
    """The color of a value in a range: darker is larger."""
    return _between(_RANGE, (value - low) / (high - low) if high > low else 0.5)


def contrast(color: str) -> str:
    """The class of text that is legible on a color: w (white) or u (dark)."""
    red, green, blue = _rgb(color)
    return "w" if 0.299 * red + 0.587 * green + 0.114 * blue < 130 else "u"


def _between(stops: Sequence[tuple[float, str]], value: float) -> str:
    if value <= stops[0][0]:
        return stops[0][1]
    for (start, first), (end, second) in pairwise(stops):
        if value <= end:
            share = (value - start) / (end - start)
            mixed = (round(a + (b - a) * share) for a, b in zip(_rgb(first), _rgb(second), strict=True))
            return "#" + "".join(f"{part:02x}" for part in mixed)
    return stops[-1][1]


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
