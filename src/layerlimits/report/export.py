"""Figures and tables of a study as files for papers: SVG, PDF and PNG; LaTeX, Markdown and CSV."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.report.charts.curves import recovery_curves
from layerlimits.report.charts.diagnostics import sections
from layerlimits.report.charts.options import recovery
from layerlimits.report.charts.study import charts
from layerlimits.report.figure import Figure, standalone
from layerlimits.report.study_tables import tables
from layerlimits.report.tables import Table, to_csv, to_latex, to_markdown
from layerlimits.results.document import StudyResults

# Pixels of a PNG per pixel of the drawing.
_PNG_SCALE = 3.0
_TABLES: Mapping[str, Callable[[Table], str]] = {"csv": to_csv, "md": to_markdown, "tex": to_latex}
# Tables of what was measured; the others describe the run or list single findings.
_PRINTED = ("verdicts", "base", "classes", "pruned", "speed", "options")


def all_figures(results: StudyResults) -> Iterator[Figure]:
    """Every chart of the report, in its order."""
    yield from charts(results)
    yield from recovery(results)
    yield from (figure for figure, _ in recovery_curves(results))
    yield from (figure for section in sections(results) for figure in section.figures)


def write_files(results: StudyResults, out: Path) -> tuple[Path, ...]:
    """Write each chart as SVG, PDF and PNG, and each table as LaTeX, Markdown and CSV.

    Args:
        results: The results of a study.
        out: A folder that is new or empty.

    Returns:
        The files.

    Raises:
        UserError: The folder cannot be written.
    """
    from vl_convert import svg_to_pdf, svg_to_png

    files: dict[str, str | bytes] = {}
    for figure in all_figures(results):
        svg = standalone(figure)
        files[f"{figure.name}.svg"] = svg
        files[f"{figure.name}.pdf"] = svg_to_pdf(svg)
        files[f"{figure.name}.png"] = svg_to_png(svg, scale=_PNG_SCALE)
    for table in tables(results).values():
        for ending, form in _TABLES.items():
            files[f"{table.name}.{ending}"] = form(table)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
            (out / name).write_bytes(data)
    except OSError as error:
        raise UserError(f"failed to write to {out}: {error}", "choose another output folder (--out)") from None
    return tuple(out / name for name in files)


def markdown(results: StudyResults) -> str:
    """The main tables in Markdown, under the answer of the study."""
    made = tables(results)
    parts = [
        f"## {results.model.title}",
        results.answer,
        *(to_markdown(made[name]) for name in _PRINTED if name in made),
    ]
    return "\n\n".join(part for part in parts if part)
