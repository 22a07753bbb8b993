"""The report's sections of diagnostics: charts drawn from findings, the main finding, and the table."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from layerlimits.diagnostics import Chart, ChartKind, DiagnosedModel, Diagnostic, Finding, RunView, Source
from layerlimits.report.charts import diagnostics
from layerlimits.report.charts.diagnostics import draw, sections
from layerlimits.report.figure import Figure, shown
from layerlimits.report.html import render
from layerlimits.results.document import StudyResults
from layerlimits.results.model import ModelInfo
from layerlimits.statistics import intervals
from layerlimits.types import Estimate

MODELS = (
    DiagnosedModel("base", "base", (), "f0"),
    *(DiagnosedModel(f"without layer {layer}", "sweep", (layer,), f"f{layer + 1}") for layer in range(3)),
    DiagnosedModel("reverse, 2 removed", "prune", (4, 5), "p"),
    DiagnosedModel("reverse, 2 removed, finetuned (lora)", "recover", (4, 5), "r", "reverse, 2 removed"),
)


EMPTY = dict.fromkeys(
    "tasks sweep methods pruned classes protocols recovery speed samples stages notes warnings".split(), ()
)


@pytest.fixture
def made_up() -> StudyResults:
    """The results of a study without any figures."""
    texts = dict.fromkeys("made_by created command preset calibration".split(), "")
    model = ModelInfo("m", "", 6, 1, 4, "float32", "cpu")
    return StudyResults(**texts, **EMPTY, seed=0, config={}, model=model, models=MODELS, diagnostics=())  # type: ignore[arg-type]  # empty tuples


def _finding(
    model: str, measure: str = "share", task: str = "gsm8k", axis: str = "", x: float | None = None
) -> Finding:
    value = intervals.mean([1.0] * (1 + len(model) % 3) + [0.0] * 3)
    return Source("mine", model, task, measure, axis, x).measured(value, f"{model}: {value.estimate:.2f}")


def _chart(kind: ChartKind, *measures: str) -> Chart:
    return Chart("A chart", kind, measures or ("share",))


def _tips(figure: Figure | None, panel: int = 0) -> list[str]:
    """The texts of the marks of a panel, in the order in which they are drawn."""
    assert figure is not None
    return re.findall("<title>([^<]*)</title>", figure.panels[panel].body)


def _draw(chart: Chart, rows: list[Finding]) -> Figure | None:
    return draw("chart", chart, rows, MODELS, 6)


def test_layers_are_columns_and_those_without_a_finding_say_so() -> None:
    rows = [_finding(model.label) for model in MODELS]
    tips = _tips(_draw(_chart("layers"), rows))
    assert tips == [
        *(f"gsm8k without layer {layer}: share {shown(value(rows[layer + 1]))}" for layer in range(3)),
        *(f"gsm8k, layer {layer}: not measured" for layer in range(3, 6)),
    ]


def value(row: Finding) -> Estimate:
    assert row.value
    return row.value


def test_values_by_model_leave_out_single_layers_and_stand_at_their_number_of_layers() -> None:
    figure = _draw(_chart("bars"), [_finding(model.label) for model in MODELS])
    assert [tip.partition(": ")[0] for tip in _tips(figure)] == [
        "base",
        "reverse, 2 removed",
        "reverse, 2 removed, finetuned (lora)",
    ]
    assert figure is not None
    assert [key.label for key in figure.legend] == ["reverse", "finetuned, in the color of its method"]
    places = [float(x) for x in re.findall(r'<use [^>]*x="([\d.]+)"', figure.panels[0].body)]
    assert places[1] == places[2] > places[0]


def test_shares_are_stacked_to_their_sum() -> None:
    parts = [replace(_finding("base", measure), estimate=0.5) for measure in ("rest", "share")]
    figure = _draw(_chart("stacked", "rest", "share"), parts)
    assert figure is not None
    assert [key.label for key in figure.legend] == ["rest", "share"]
    bars = re.findall(r'<rect class="m s(\d)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', figure.panels[0].body)
    assert [number for number, _, _ in bars] == ["0", "1"]
    assert float(bars[1][1]) == pytest.approx(float(bars[0][1]) + float(bars[0][2]), abs=1)


def test_lines_over_an_axis_have_a_panel_per_task_and_a_color_per_model() -> None:
    rows = [
        replace(_finding(model, task=task), axis="depth", x=float(x))
        for task in ("gsm8k", "xsum", "sums")
        for model in ("base", "reverse, 2 removed")
        for x in (2, 1)
    ]
    figure = _draw(_chart("axis"), rows)
    assert figure is not None
    titles = [re.search('class="h"[^>]*>([^<]*)<', panel.body)[1] for panel in figure.panels]  # type: ignore[index]  # all have one
    assert titles == ["gsm8k", "xsum", "sums"]
    assert [key.label for key in figure.legend] == ["base", "reverse, 2 removed"]
    for panel in figure.panels:
        assert panel.body.count('<path class="l s6"') == panel.body.count('<path class="l s0"') == 1
        assert "depth" in panel.body
    assert _tips(figure)[0].startswith("base, depth 2: ")


def test_many_models_are_drawn_at_one_number_of_layers_and_the_caption_says_so() -> None:
    plans = [("reverse", 1), ("reverse", 2), ("reverse", 3), *((f"m{place}", 2) for place in range(6))]
    many = [DiagnosedModel(f"{name}, {count} removed", "prune", (0,) * count, name) for name, count in plans]
    rows = [replace(_finding(model.label), axis="depth", x=1.0) for model in many]
    figure = draw("chart", _chart("axis"), rows, many, 6)
    assert figure is not None
    assert "Drawn are models with 2 layers removed; the table has all models." in figure.caption
    assert [key.label for key in figure.legend] == [model.label for model in many if len(model.removed) == 2]


def test_nothing_is_drawn_of_what_cannot_be_measured() -> None:
    rows = [Source("mine", model.label, "gsm8k", "share").not_measurable("no answers") for model in MODELS]
    kinds: tuple[ChartKind, ...] = ("layers", "bars", "stacked", "axis")
    for kind in kinds:
        assert _draw(_chart(kind), rows) is None


def _findings(view: RunView) -> Iterator[Finding]:
    yield from ()


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> Diagnostic:
    diagnostic = Diagnostic("mine", "What <b>mine</b> finds", _findings, (_chart("bars"),), caption="Read it.")
    monkeypatch.setattr(diagnostics, "chosen", lambda: [diagnostic])
    return diagnostic


def test_a_section_has_the_main_finding_and_the_first_rows(mine: Diagnostic, made_up: StudyResults) -> None:
    main = replace(_finding("base"), sentence="The <i>main</i> finding.")
    unmeasured = Source("mine", "base", "gsm8k", "rest").not_measurable("no answers")
    many = [_finding("without layer 1") for _ in range(300)]
    results = replace(made_up, models=MODELS, diagnostics=(main, unmeasured, *many, _finding("reverse, 2 removed")))
    page = render(results)
    assert "The &lt;i&gt;main&lt;/i&gt; finding." in page
    assert "What &lt;b&gt;mine" in page
    assert "Table: Findings of mine (302 rows)" in page
    (section,) = sections(results)
    assert section.diagnostic is mine
    assert section.main is main
    assert len(section.rows) == 302
    assert section.rows[0].model == "reverse, 2 removed"
    assert [figure.name for figure in section.figures] == ["mine_0"]


def test_no_section_without_findings(mine: Diagnostic, made_up: StudyResults) -> None:
    assert sections(replace(made_up, models=MODELS, diagnostics=())) == []
