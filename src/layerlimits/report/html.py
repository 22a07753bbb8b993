"""Render and write the HTML report, and the same results as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from layerlimits.errors import UserError
from layerlimits.paths import check_output_file, unfinished
from layerlimits.report.charts.curves import recovery_curves
from layerlimits.report.charts.diagnostics import sections
from layerlimits.report.charts.options import recovery
from layerlimits.report.charts.study import charts
from layerlimits.report.drawing import shapes
from layerlimits.report.payload import book_data, packed, table_data
from layerlimits.report.study_tables import tables
from layerlimits.report.style import chart_style, page_style
from layerlimits.report.tables import Cell, Column, Table, interval, shown
from layerlimits.report.units import size
from layerlimits.results.answer_book import AnswerBook
from layerlimits.results.document import StudyResults
from layerlimits.results.progress import progress
from layerlimits.results.samples import ModelAnswer

# Marks a file as a report; must occur within the first bytes.
_MARK = b"<title>layerlimits: "
_MARK_WITHIN = 1000

# Verdicts shown as cards; the table has all.
_SHOWN_CARDS = 6
_SCRIPTS = ("core", "differences", "tables", "charts", "answers")


def check_report_file(out: Path) -> Path:
    """Check that writing a report overwrites nothing but an older report.

    Returns:
        The path with links resolved.
    Raises:
        UserError: The path is a folder, a file that is not a report, a file of a run, or not a valid path.
    """
    fix = "choose another output file (--out), such as report.html"
    own = ("a layerlimits report", "a report")
    return check_output_file(out, "the output file (--out)", own, ".html", fix, _is_report)


def _is_report(page: Path) -> bool:
    """Whether a file is a layerlimits report; only regular files are read."""
    if not page.is_file():
        return False
    try:
        with page.open("rb") as stream:
            return _MARK in stream.read(_MARK_WITHIN)
    except OSError:
        return False


def write(results: StudyResults, out: Path, book: AnswerBook | None = None) -> Path:
    """Write the report atomically.

    Args:
        results: The results of a study.
        out: The HTML file.
        book: All answers of the study; None leaves them out.
    Returns:
        The path of the file.
    Raises:
        UserError: See `check_report_file`; also if the file cannot be written, for instance on a full disk.
    """
    return write_text(check_report_file(out), render(results, book))


def write_results(results: StudyResults, out: Path) -> Path:
    """Write the results as JSON, atomically.

    Raises:
        UserError: The file cannot be written.
    """
    return write_text(out, json.dumps(results.to_json(), indent=1, ensure_ascii=False) + "\n")


def write_text(file: Path, content: str) -> Path:
    """Write a file atomically.

    Raises:
        UserError: The file cannot be written.
    """
    partial = unfinished(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(content, encoding="utf-8", errors="backslashreplace")
        return partial.replace(file)
    except OSError as error:
        raise UserError(f"failed to write {file}: {error}", "choose another output file (--out)") from None
    finally:
        partial.unlink(missing_ok=True)


def render(results: StudyResults, book: AnswerBook | None = None) -> str:
    """Render a self-contained page with style sheets, scripts and data; text from models and users is escaped."""
    return render_page(
        "report.html.j2",
        results.model.title,
        tables(results),
        r=results,
        charts={chart.name: chart for chart in charts(results)},
        sections=sections(results),
        recovered=list(recovery(results)),
        curves=list(recovery_curves(results)),
        state=progress(results).sentence,
        verdict=results.verdict,
        shown_cards=_SHOWN_CARDS,
        book_data=packed(book_data(book)) if book and book.tasks else "",
    )


def render_page(template: str, title: str, shown_tables: Mapping[str, Table], **values: Any) -> str:
    """Render a page with the style sheets and scripts of all pages.

    Args:
        template: Its template.
        title: Its title.
        shown_tables: Its tables by name.
        values: Further values of the template.
    """
    page: str = (
        _environment()
        .get_template(template)
        .render(
            title=title,
            tables=shown_tables,
            table_data=packed({name: table_data(table) for name, table in shown_tables.items()}),
            colors=Markup(page_style()),
            chart_style=Markup(chart_style()),
            shapes=Markup(shapes()),
            css=Markup(_asset("page.css")),
            scripts=Markup(_scripts(_SCRIPTS)),
            **values,
        )
    )
    return page


def _scripts(names: Sequence[str]) -> str:
    # One script, so that "use strict" of the first part covers all.
    return "\n".join(
        _asset(f"{name}.js").replace('"use strict";\n', "", int(place > 0)) for place, name in enumerate(names)
    )


def _asset(name: str) -> str:
    return files("layerlimits.report").joinpath("assets", name).read_text(encoding="utf-8")


def _template(name: str) -> str:
    return files("layerlimits.report").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    # Autoescape, because prompts and answers are untrusted text.
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_template),
    )
    environment.filters |= {
        "cell": _cell,
        "down": lambda value: f"{math.floor(value + 1e-9):.0f}",
        "drawn": Markup,
        "marked": _marked,
        "size": size,
        "up": lambda value: f"{math.ceil(value - 1e-9):.0f}",
    }
    return environment


def _cell(cell: Cell, column: Column) -> Markup:
    """A cell of a table, with the interval of an estimate."""
    around = interval(column, cell)
    value = Markup("{}").format(shown(column, cell))
    return value + Markup(' <span class="interval">{}</span>').format(around) if around else value


def _marked(answer: ModelAnswer) -> Markup:
    """A text with its first difference marked: a character, a line break, or the end of the text."""
    place = answer.differs_at
    if place is None:
        return Markup("{}").format(answer.text)
    mark = answer.text[place : place + 1]
    shown = {"": "\u25a1", "\n": "\u21b5\n", " ": "\u2423"}.get(mark, mark)
    return Markup("{}<mark>{}</mark>{}").format(answer.text[:place], shown, answer.text[place + 1 :])
