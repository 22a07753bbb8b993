"""The report in a browser: nothing is requested, everything works by mouse and by keyboard, and nothing overlaps."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import MISPLACED, PHONE, Opened, chromium, opened
from hostile_answers import HOSTILE, hostile_book
from page_studies import made_up

from layerlimits.report.html import render
from layerlimits.report.runs import render_runs
from layerlimits.report.study_tables import tables
from layerlimits.report.tables import to_csv
from layerlimits.results.document import StudyResults

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def results() -> StudyResults:
    return made_up(12, 5, 4)


@pytest.fixture(scope="module")
def report(results: StudyResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(render(results, hostile_book()), errors="backslashreplace")
    return file


@pytest.fixture
def shown(browser: Any, report: Path) -> Iterator[Opened]:
    with opened(browser, report) as page:
        yield page
        assert page.problems == []


def saved(page: Any, click: Callable[[], None]) -> bytes:
    """The content of the file that a click downloads."""
    with page.expect_download() as download:
        click()
    return Path(download.value.path()).read_bytes()


def test_it_opens_without_a_request_and_shows_every_mark(
    shown: Opened, results: StudyResults, record_property: Callable[[str, object], None]
) -> None:
    page = shown.page
    assert page.locator("#chart-sweep [data-tip]").count() == len(results.sweep)
    assert page.locator("#chart-by_task .c").count() == len(results.pruned)
    for chart in page.locator("figure.chart").all():
        assert chart.locator("svg[role=img]").count() >= 1
        assert all(svg.get_attribute("aria-label") for svg in chart.locator("svg[role=img]").all())
    times = page.evaluate(
        "() => [...performance.getEntriesByType('paint').map((each) => each.startTime), "
        "performance.getEntriesByType('navigation')[0].loadEventEnd]"
    )
    record_property("first_paint_ms, contentful_paint_ms, load_ms", times)


def test_tables_filter_sort_and_download(shown: Opened, results: StudyResults) -> None:
    page, block = shown.page, shown.page.locator("#table-sweep")
    block.locator("summary").click()
    block.locator("tbody tr").nth(59).wait_for()
    block.locator("input").fill("task_number_1 ")
    page.wait_for_function("document.querySelectorAll('#table-sweep tbody tr').length === 12")
    block.get_by_role("button", name="retention (95% CI)").click()
    page.wait_for_selector("#table-sweep th[aria-sort=ascending]")
    kept = sorted(row.retention.estimate for row in results.sweep if row.task == "task_number_1" and row.retention)
    column = 3
    page.wait_for_function(
        f"document.querySelector('#table-sweep tbody tr').children[{column}].textContent.startsWith('{kept[0]:.3f}')"
    )
    texts = block.locator(f"tbody tr td:nth-child({column + 1})").all_inner_texts()
    assert [text.split()[0] for text in texts] == [f"{value:.3f}" for value in kept]
    # By keyboard: the same button again sorts the other way.
    block.get_by_role("button", name="retention (95% CI)").press("Enter")
    page.wait_for_selector("#table-sweep th[aria-sort=descending]")
    block.locator("input").fill("")
    page.wait_for_function("document.querySelectorAll('#table-sweep tbody tr').length === 60")
    content = saved(page, lambda: block.locator(".csv").click()).decode()
    mine, ours = (sorted(csv.reader(io.StringIO(text))) for text in (content, to_csv(tables(results)["sweep"])))
    assert len(mine) == len(ours) == 61
    for row, other in zip(mine, ours, strict=True):
        for cell, expected in zip(row, other, strict=True):
            assert cell == expected or float(cell) == pytest.approx(float(expected), rel=1e-5, abs=1e-9)


def test_a_row_leads_to_its_answers(shown: Opened) -> None:
    page = shown.page
    page.evaluate("labelsOfAnswers.add('method_0, 1 removed')")
    page.locator("#table-pruned summary").click()
    link = page.locator("#table-pruned tbody button.link").first
    assert link.get_attribute("aria-label") == "Answers of method_0, 1 removed on task_number_0"


def test_answers_are_searched_filtered_and_shown_as_text(shown: Opened) -> None:
    page = shown.page
    cards, count = page.locator("#answer-list article"), page.locator("#answer-count")
    assert count.inner_text() == "6 items, 6 shown"
    assert page.locator("select[name=model]").input_value() == "reverse, 2 removed, finetuned (lora)"
    page.select_option("select[name=model]", "reverse, 2 removed")
    assert count.inner_text() == "7 items, 7 shown"
    labels = ["base", "reverse, 2 removed", "reverse, 2 removed, finetuned (lora)"]
    shows = [text.split("\n")[-1] for text in cards.first.locator(".answers .who").all_inner_texts()]
    assert shows == labels
    page.fill("input[name=search]", "not a HEADING")
    assert count.inner_text() == "1 item, 1 shown"
    assert HOSTILE[1] in cards.first.locator(".answers pre").nth(1).text_content()
    assert cards.first.locator(".answers mark").count() >= 2
    page.fill("input[name=search]", "")
    page.select_option("select[name=task]", "summaries")
    assert cards.first.locator(".badge").all_inner_texts() == ["0.80", "0.25"]
    page.select_option("select[name=verdict]", "wrong")
    assert count.inner_text() == "0 items, 0 shown"
    page.select_option("select[name=verdict]", "partly")
    page.select_option("select[name=flip]", "lost")
    assert count.inner_text() == "1 item, 1 shown"
    page.select_option("select[name=task]", "")
    page.select_option("select[name=outcome]", "wrong")
    page.select_option("select[name=verdict]", "")
    assert count.inner_text() == "6 items, 6 shown"
    shows = [card.locator(".answers pre").nth(1).text_content() for card in cards.all()]
    assert shows[2] == HOSTILE[2]
    assert "\u27e8U+202E\u27e9" in shows[3]
    assert "\u2407" in shows[4]
    assert "\x1b" not in shows[4]
    assert page.evaluate("window.broken") is None
    assert page.locator("#answers h1, #answers img, #answers script").count() == 0


def test_charts_are_read_by_keys_and_downloaded(shown: Opened) -> None:
    page, chart = shown.page, shown.page.locator("#chart-pareto")
    panels = chart.locator(".panels")
    panels.focus()
    first = chart.locator("[data-tip]").first.get_attribute("data-tip")
    panels.press("ArrowRight")
    assert page.locator("#tip").inner_text() == first
    assert page.locator("#announced").inner_text() == first
    panels.press("ArrowRight")
    assert page.locator("#tip").inner_text() != first
    panels.press("Escape")
    assert not page.locator("#tip").is_visible()
    chart.locator("[data-tip]").nth(3).hover(force=True)
    assert page.locator("#tip").is_visible()
    entry = chart.locator(".legend button").nth(1)
    entry.press("Enter")
    assert entry.get_attribute("aria-pressed") == "true"
    dimmed, marks = chart.locator(".panels .dim").count(), chart.locator(".panels .m, .panels .o").count()
    assert dimmed > 0
    assert chart.locator(".panels .m:not(.dim), .panels .o:not(.dim)").count() < marks
    entry.press("Enter")
    assert chart.locator(".panels .dim").count() == 0
    svg = saved(page, lambda: chart.locator(".save-svg").click()).decode()
    assert svg.count("<use ") == marks + chart.locator(".legend use").count()
    assert "Quality against speed and memory" in svg
    assert "var(" not in svg
    png = saved(page, lambda: chart.locator(".save-png").click())
    assert png.startswith(b"\x89PNG")
    assert len(png) > 20_000


def test_without_scripts_charts_and_tables_are_there(browser: Any, report: Path, results: StudyResults) -> None:
    with opened(browser, report, java_script_enabled=False) as shown:
        page = shown.page
        assert page.locator("#chart-sweep rect > title").count() == len(results.sweep)
        assert page.locator("#table-base tbody tr").count() == len(results.tasks)
        assert page.locator("text=Filter rows").count() == 0
        assert not page.locator(".scripted >> visible=true").count()
        assert shown.problems == []


@pytest.mark.parametrize(("layers", "tasks", "methods"), [(12, 13, 12), (32, 13, 12), (80, 13, 12)])
@pytest.mark.parametrize("phone", [False, True])
def test_no_text_of_a_chart_overlaps_or_is_cut(
    browser: Any, tmp_path: Path, layers: int, tasks: int, methods: int, phone: bool
) -> None:
    file = tmp_path / "report.html"
    file.write_text(render(made_up(layers, tasks, methods, (0.05, 0.1, 0.25, 0.33, 0.4))))
    with opened(browser, file, **(PHONE if phone else {})) as shown:
        assert shown.page.evaluate(MISPLACED) == []
        width = 390 if phone else 1200
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
        empty = shown.page.evaluate(
            "[...document.querySelectorAll('.panels')].filter((each) => !each.querySelector('svg [data-tip]')).length"
        )
        assert empty == 0
        assert shown.problems == []


def test_printing_opens_the_tables(shown: Opened, tmp_path: Path) -> None:
    page = shown.page
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert not page.locator("nav").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 3
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "report.pdf").read_bytes())) > 5


def _open_all(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    page.wait_for_timeout(300)


STATES: dict[str, tuple[dict[str, Any], Callable[[Any], None]]] = {
    "light": ({}, lambda page: None),
    "dark": ({"color_scheme": "dark"}, lambda page: None),
    "phone": (PHONE, lambda page: None),
    "tables open": ({}, _open_all),
    "dark, tables open": ({"color_scheme": "dark"}, _open_all),
    "answers filtered": ({}, lambda page: page.fill("input[name=search]", "heading")),
    "legend pressed": ({}, lambda page: page.locator("#chart-pareto .legend button").first.click()),
}


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_serious(browser: Any, report: Path, state: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe: pip install 'layerlimits[browser]'"
    )
    settings, change = STATES[state]
    # The page forbids foreign scripts, and axe is one.
    with opened(browser, report, bypass_csp=True, **settings) as shown:
        change(shown.page)
        violations = axe.Axe().run(shown.page).response["violations"]
    serious = [
        (each["id"], node["html"][:200])
        for each in violations
        for node in each["nodes"][:3]
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_several_runs_share_charts(browser: Any, tmp_path: Path) -> None:
    runs = {"a": made_up(12, 4, 4), "b": made_up(32, 4, 4)}
    file = tmp_path / "runs.html"
    file.write_text(render_runs(runs))
    with opened(browser, file) as shown:
        chart = shown.page.locator("#chart-runs_generation")
        marks = sum(row.kind == "generation" for study in runs.values() for row in study.classes)
        assert chart.locator("use[data-tip]").count() == marks
        assert [text.strip() for text in chart.locator(".legend li").all_inner_texts()] == [
            "made-up-model (a)",
            "made-up-model (b)",
        ]
        assert shown.page.evaluate(MISPLACED) == []
        assert shown.problems == []
