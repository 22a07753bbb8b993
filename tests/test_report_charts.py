"""The report's charts: axes, the frontier, the band of random removal, and made-up studies of any size."""

import re
import xml.dom.minidom
from dataclasses import replace

import pytest
from page_studies import around, made_up

from layerlimits.report.axes import Axis, columns, counts, horizontal, logarithmic, text_width, vertical
from layerlimits.report.charts.curves import random_band, retention
from layerlimits.report.charts.heat import strips, sweep
from layerlimits.report.charts.options import frontier, pareto
from layerlimits.report.export import all_figures
from layerlimits.report.figure import Figure, standalone
from layerlimits.report.style import contrast, range_color, retention_color


@pytest.mark.parametrize("layers", [1, 2, 6, 12, 24, 32, 80, 126])
def test_ticks_of_layers_are_whole_inside_the_range_and_do_not_overlap(layers: int) -> None:
    axes = (counts(layers, 176.0, ""), columns(layers, min(26.0, 880 / layers) * layers, ""))
    for axis, highest, shift in zip(axes, (layers, layers - 1), (0, 0.5), strict=True):
        values = [int(label) for _, label in axis.ticks]
        assert values == sorted(set(values))
        assert values[0] == 0
        assert values[-1] <= highest
        assert [place - shift for place, _ in axis.ticks] == values
        for (left, first), (right, second) in zip(axis.ticks, axis.ticks[1:], strict=False):
            assert axis.at(right) - axis.at(left) > (text_width(first, 11) + text_width(second, 11)) / 2


@pytest.mark.parametrize(
    "values", [[0.0], [0.2, 0.8], [-0.4, 1.2], [3.0, 4.0, 900.0], [0.001, 0.002], [5.0, 5.0], [-31.7]]
)
def test_axes_cover_their_values_with_ticks_inside(values: list[float]) -> None:
    for axis in (vertical(values, 120.0, ""), horizontal(values, 180.0, "", zero=False)):
        assert axis.low <= min(values)
        assert axis.high >= max(values)
        assert len(axis.ticks) >= 1
        assert all(axis.low - 1e-9 <= value <= axis.high + 1e-9 for value, _ in axis.ticks)
        # Positions are in the panel and in the order of values.
        places = [axis.at(value) for value in sorted(set(values))]
        assert places == sorted(places, reverse=axis.upward)
        assert all(0 <= place <= axis.length for place in places)


def test_an_axis_clips_what_lies_beyond() -> None:
    axis = Axis(0, 1, 100.0, upward=True)
    assert [axis.at(value) for value in (-5, 0, 0.25, 1, 7)] == [100, 100, 75, 0, 0]
    assert logarithmic(10, 1000, 100.0, "").at(100) == pytest.approx(50)


def test_the_frontier_is_what_no_other_point_surpasses() -> None:
    points = [(1.0, 1.0), (1.2, 0.9), (1.2, 0.95), (1.1, 0.5), (1.5, 0.3), (1.4, 0.3)]
    found = frontier(points)
    for place, (gain, quality) in enumerate(points):
        beaten = any(other[0] >= gain and other[1] >= quality and other != (gain, quality) for other in points)
        assert (place in found) == (not beaten)
    assert [points[place] for place in found] == [(1.0, 1.0), (1.2, 0.95), (1.5, 0.3)]


def test_colors_tell_losses_from_gains_and_text_on_them_is_legible() -> None:
    assert retention_color(1.0) == "#f7f7f7"
    assert retention_color(-3) == retention_color(0)
    red, blue = (int(retention_color(0.2)[place : place + 2], 16) for place in (1, 5))
    assert red > blue
    red, blue = (int(retention_color(1.5)[place : place + 2], 16) for place in (1, 5))
    assert red < blue
    assert (contrast("#f7f7f7"), contrast("#08306b")) == ("u", "w")
    assert range_color(0.3, 0.3, 0.3) == range_color(0.5, 0, 1)


def test_random_removal_is_one_band_over_its_seeds() -> None:
    assert random_band([[(2, around(0.5)), (4, around(0.2))], [(2, around(0.7)), (4, around(0.1))]]) == [
        (2.0, 0.5, 0.7),
        (4.0, 0.1, 0.2),
    ]
    (one,) = random_band([[(2, around(0.5, width=0.1))]])
    assert one == pytest.approx((2.0, 0.4, 0.6))
    figure = retention(made_up(12, 3, 5), "generation")
    assert figure is not None
    titles = [re.search('class="h"[^>]*>([^<]*)<', panel.body)[1] for panel in figure.panels]  # type: ignore[index]  # all have one
    assert titles == ["method_0", "method_1", "method_2", "random, 2 seeds"]
    assert "random removal (2 seeds)" in figure.caption


def test_marks_are_the_rows_of_the_results() -> None:
    results = made_up(12, 4, 4)
    heat = sweep(results)
    assert heat is not None
    tips = re.findall("<title>([^<]*)</title>", heat.panels[0].body)
    assert len(tips) == len(results.sweep) == 48
    row = results.sweep[5]
    assert row.retention is not None
    assert f"{row.task} without layer {row.layer}: retention {row.retention.estimate:.2f} (" in " ".join(tips)
    assert heat.panels[0].body.count('class="dot"') == sum(
        bool(row.test and row.test.significant) for row in results.sweep
    )
    removed = strips(results)
    assert removed is not None
    marked = sum(panel.body.count('class="m s1"') for panel in removed.panels)
    assert marked == sum(len(row.removed) for row in results.classes if row.kind == "generation")


def test_quality_has_a_mark_per_model_and_class() -> None:
    results = made_up(12, 4, 4)
    figure = pareto(results)
    assert figure is not None
    # Two classes against speed and size: the unpruned model, every plan, and the finetuned one.
    plans = len({(row.method, row.layers) for row in results.classes})
    assert [panel.body.count("<use ") for panel in figure.panels] == [plans + 2] * 4
    assert figure.panels[0].body.count('<use class="o') == 1


@pytest.mark.parametrize(("layers", "tasks", "methods"), [(12, 13, 12), (32, 13, 12), (80, 13, 12), (1, 1, 3)])
def test_figures_of_any_size_lie_inside_their_panels(layers: int, tasks: int, methods: int) -> None:
    figures = list(all_figures(made_up(layers, tasks, methods)))
    assert len({figure.name for figure in figures}) == len(figures) >= 8
    for figure in figures:
        assert figure.panels, figure.name
        for panel in figure.panels:
            assert panel.width <= 1100, figure.name
            check_inside(figure, panel.body, panel.width)


def check_inside(figure: Figure, body: str, width: float) -> None:
    """Numbers and texts are valid, and texts that grow to the left or to both sides begin inside the panel."""
    assert "nan" not in body
    assert "inf" not in re.sub("<title>.*?</title>|>[^<]*<", "", body)
    group = re.search(r'<g transform="translate\(([\d.]+) ([\d.]+)\)">', body)
    left = float(group[1]) if group else 0.0
    for x, anchor, content in re.findall(
        r'<text class="[^"]*" x="(-?[\d.]+)" y="[^"]*" text-anchor="(\w+)">([^<]*)<', body
    ):
        room = text_width(content, 11) * (0.5 if anchor == "middle" else 1)
        assert left + float(x) - room >= -8, (figure.name, content)
        if anchor == "middle":
            assert left + float(x) + room <= width + 8, (figure.name, content)


def test_a_figure_alone_is_valid_svg_with_its_legend() -> None:
    results = made_up(12, 4, 4)
    named = replace(results, methods=(), tasks=(replace(results.tasks[0], name="a<b>&c"), *results.tasks[1:]))
    for figure in all_figures(named):
        document = xml.dom.minidom.parseString(standalone(figure))  # noqa: S318  # its own drawing
        texts = {element.firstChild.data for element in document.getElementsByTagName("text")}  # type: ignore[union-attr]  # all have one
        assert {figure.title, *(key.label for key in figure.legend)} <= texts
        ids = {element.getAttribute("id") for element in document.getElementsByTagName("path")}
        used = {element.getAttribute("href")[1:] for element in document.getElementsByTagName("use")}
        assert used <= ids
