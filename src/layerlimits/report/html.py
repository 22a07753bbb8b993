"""Render and write the HTML report, and the same results as JSON."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from layerlimits.errors import UserError
from layerlimits.paths import check_output_file, unfinished
from layerlimits.report import figures, recovery
from layerlimits.report.alternatives import alternatives
from layerlimits.report.diagnostics import sections
from layerlimits.results.document import StudyResults
from layerlimits.results.rows import PairedTest, TaskScore
from layerlimits.results.samples import ModelAnswer
from layerlimits.types import Estimate

# Marks a file as a report; must occur within the first bytes.
_MARK = b"<title>layerlimits: "
_MARK_WITHIN = 1000

# The figure of each section; if it is None, the section states that its stage has not run.
_FIGURES = {
    "sweep": figures.sweep,
    "methods": figures.methods,
    "by_task": figures.by_task,
    "speed": figures.speed,
    "alternatives": alternatives,
}


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


def write(results: StudyResults, out: Path) -> Path:
    """Write the report atomically.

    Args:
        results: The results of a study.
        out: The HTML file.
    Returns:
        The path of the file.
    Raises:
        UserError: See `check_report_file`; also if the file cannot be written, for instance on a full disk.
    """
    return _write_atomically(check_report_file(out), render(results))


def write_results(results: StudyResults, out: Path) -> Path:
    """Write the results as JSON, atomically.

    Raises:
        UserError: The file cannot be written.
    """
    return _write_atomically(out, json.dumps(results.to_json(), indent=1, ensure_ascii=False) + "\n")


def _write_atomically(file: Path, content: str) -> Path:
    partial = unfinished(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(content, encoding="utf-8", errors="backslashreplace")
        return partial.replace(file)
    except OSError as error:
        raise UserError(f"failed to write {file}: {error}", "choose another output file (--out)") from None
    finally:
        partial.unlink(missing_ok=True)


def render(results: StudyResults) -> str:
    """Render a self-contained page with style sheet, Plotly and data; text from models and users is escaped."""
    drawn = {name: figure for name, draw in _FIGURES.items() if (figure := draw(results)) is not None}
    removals = list(dict.fromkeys(tuple(entry.removed) for entry in results.recovery if entry.tasks))
    curves = recovery.curves(results)
    recovered = {f"recovery_{number}": figures.recovery(results, removed) for number, removed in enumerate(removals)}
    lost = sections(results)
    drawn |= recovered | {name: figure for section in lost for name, (_, figure) in section.charts.items()}
    drawn |= {section.chart: section.figure for section in curves}
    charts = {name: _json(json.loads(figure.to_json())) for name, figure in drawn.items()}
    page: str = _template().render(
        r=results,
        charts=charts,
        sections=lost,
        strict=any(task.strict for task in results.tasks),
        recovered=list(zip(recovered, removals, strict=True)),
        recovery_tables=recovery.tables(results),
        recovery_curves=curves,
        css=Markup(_read("report.css")),
        plotly=Markup(get_plotlyjs()),
    )
    return page


def _json(content: Any) -> Markup:
    """JSON for a script element; no text in it can close the element."""
    return Markup(json.dumps(content).replace("<", "\\u003c"))


def _read(name: str) -> str:
    return files("layerlimits.report").joinpath(name).read_text()


@cache
def _template() -> Any:
    # Autoescape, because prompts and answers are untrusted text.
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_read)
    )
    filters = {"fig": _fig, "percent": _percent, "bytes": _bytes, "asked": _asked, "star": _star, "marked": _marked}
    environment.filters |= filters
    return environment.get_template("report.html.j2")


def _fig(figure: Estimate | None) -> Markup:
    """An estimate with its interval, for a table cell."""
    if figure is None:
        return Markup('<span class="none">&ndash;</span>')
    shown = Markup('{:.3f} <span class="interval">{:.2f}&ndash;{:.2f}</span>')
    return shown.format(figure.estimate, figure.low, figure.high)


def _marked(answer: ModelAnswer) -> Markup:
    """A text with its first difference marked: a character, a line break, or the end of the text."""
    place = answer.differs_at
    if place is None:
        return Markup("{}").format(answer.text)
    mark = answer.text[place : place + 1]
    shown = {"": "\u25a1", "\n": "\u21b5\n", " ": "\u2423"}.get(mark, mark)
    return Markup("{}<mark>{}</mark>{}").format(answer.text[:place], shown, answer.text[place + 1 :])


def _asked(task: TaskScore) -> str:
    """A task's protocol, number of examples and prompt format, as text."""
    shots = f", {task.shots}-shot" if task.shots else ""
    return f"{task.protocol.replace('_', ' ')}{shots}, {'chat' if task.template else 'plain text'}"


def _star(test: PairedTest | None) -> str:
    return "*" if test and test.significant else ""


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
