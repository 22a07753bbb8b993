"""The report's sections of diagnostics: charts drawn from findings, the main finding, and the table."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from layerlimits.diagnostics import Chart, ChartKind, DiagnosedModel, Diagnostic, Finding, RunView, Source
from layerlimits.report import diagnostics
from layerlimits.report.diagnostics import draw, sections
from layerlimits.report.html import render
from layerlimits.results.document import StudyResults
from layerlimits.results.model import ModelInfo
from layerlimits.statistics import intervals

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


def test_layers_are_drawn_at_the_number_of_the_skipped_layer() -> None:
    rows = [_finding(model.label) for model in MODELS]
    figure = draw(_chart("layers"), rows, MODELS, 6)
    assert figure is not None
    (line,) = figure.data
    assert list(line.x) == [0, 1, 2]
    assert list(line.y) == [rows[1].estimate, rows[2].estimate, rows[3].estimate]


def test_bars_leave_out_single_layers_and_stack_if_asked() -> None:
    rows = [_finding(model.label, measure) for measure in ("share", "rest") for model in MODELS]
    for kind, mode in (("bars", "group"), ("stacked", "stack")):
        figure = draw(_chart(kind, "rest", "share"), rows, MODELS, 6)  # type: ignore[arg-type]  # from a tuple
        assert figure is not None
        assert figure.layout.barmode == mode
        assert [bar.name for bar in figure.data] == ["rest", "share"]
        assert list(figure.data[0].x) == ["base", "reverse, 2 removed", "reverse, 2 removed, finetuned (lora)"]


def test_bars_of_several_tasks_stand_together_by_task() -> None:
    figure = draw(_chart("bars"), [_finding("base", task=task) for task in ("gsm8k", "xsum")], MODELS, 6)
    assert figure is not None
    assert [list(part) for part in figure.data[0].x] == [["gsm8k", "xsum"], ["base", "base"]]


def test_lines_over_an_axis_have_a_line_per_model_in_the_order_of_the_axis() -> None:
    rows = [_finding(label, axis="depth", x=depth) for label in ("base", "reverse, 2 removed") for depth in (3, 1, 2)]
    figure = draw(_chart("axis"), rows, MODELS, 6)
    assert figure is not None
    assert [line.name for line in figure.data] == ["base", "reverse, 2 removed"]
    assert all(list(line.x) == [1, 2, 3] for line in figure.data)
    assert figure.layout.xaxis.title.text == "depth"


def test_nothing_is_drawn_of_what_cannot_be_measured() -> None:
    rows = [Source("mine", model.label, "gsm8k", "share").not_measurable("no answers") for model in MODELS]
    for kind in ("layers", "bars", "stacked", "axis"):
        assert draw(_chart(kind), rows, MODELS, 6) is None  # type: ignore[arg-type]  # from a tuple


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
    assert "The first 200 of 302 findings" in page
    (section,) = sections(results)
    assert section.diagnostic is mine
    assert section.main is main
    assert section.total == 302
    assert section.rows[0].model == "reverse, 2 removed"
    assert len(section.rows) == 200
    assert list(section.charts) == ["mine-0"]


def test_no_section_without_findings(mine: Diagnostic, made_up: StudyResults) -> None:
    assert sections(replace(made_up, models=MODELS, diagnostics=())) == []


def test_lines_over_an_axis_have_a_panel_per_task_and_a_color_per_model() -> None:
    rows = [
        replace(_finding(model, task=task), axis="depth", x=float(x))
        for task in ("gsm8k", "xsum", "sums")
        for model in ("base", "random, 2 removed")
        for x in (2, 1)
    ]
    figure = draw(_chart("axis"), rows, MODELS, 6)
    assert figure is not None
    assert [annotation.text for annotation in figure.layout.annotations] == ["gsm8k", "xsum", "sums"]
    panels = {(trace.name, trace.xaxis): trace for trace in figure.data}
    assert len(panels) == 6
    assert {axis for _, axis in panels} == {"x", "x2", "x3"}
    assert sum(trace.showlegend for trace in figure.data) == 2
    for name in {name for name, _ in panels}:
        assert len({panels[name, axis].line.color for axis in ("x", "x2", "x3")}) == 1
    assert list(figure.data[0].x) == [1, 2]
