"""Tables of the report: one form for the page, and for CSV, Markdown and LaTeX files."""

import csv
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from layerlimits.types import Estimate

Cell = str | int | float | Estimate | None
# Characters with a meaning in LaTeX.
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\u2013": "--",
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column: its heading and the kind of its cells.

    Args:
        title: Its heading, with the unit.
        kind: text, wide (text that wraps), number, or estimate (a value with its 95% interval).
        show: How numbers are shown; the value itself is kept for sorting and files.
    """

    title: str
    kind: str = "text"
    show: Callable[[float], str] | None = None

    @property
    def is_text(self) -> bool:
        """Whether its cells are text."""
        return self.kind in ("text", "wide")


@dataclass(frozen=True)
class Table:
    """A table: name of its element and of its files, caption, columns, rows, and a note below it."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


def without_empty(table: Table) -> Table:
    """The table without columns in which no row has a value."""
    kept = [place for place in range(len(table.columns)) if any(row[place] not in (None, "") for row in table.rows)]
    columns = tuple(table.columns[place] for place in kept)
    return Table(table.name, table.caption, columns, [[row[place] for place in kept] for row in table.rows], table.note)


def texts(*titles: str) -> tuple[Column, ...]:
    """Columns of text."""
    return tuple(Column(title) for title in titles)


def numbers(*titles: str, show: Callable[[float], str] | None = None) -> tuple[Column, ...]:
    """Columns of numbers."""
    return tuple(Column(title, "number", show) for title in titles)


def estimates(*titles: str) -> tuple[Column, ...]:
    """Columns of estimates with their intervals."""
    return tuple(Column(f"{title} (95% CI)", "estimate") for title in titles)


def shown(column: Column, cell: Cell) -> str:
    """A cell as text; an estimate without its interval."""
    value = cell.estimate if isinstance(cell, Estimate) else cell
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return "" if column.is_text else "\u2013"
    if isinstance(value, str):
        return value
    if column.show:
        return column.show(value)
    return (
        f"{value:.3f}" if isinstance(cell, Estimate) else f"{value:.3g}" if isinstance(value, float) else f"{value:,}"
    )


def interval(column: Column, cell: Cell) -> str:
    """The interval of an estimate; empty for other cells."""
    if not isinstance(cell, Estimate):
        return ""
    show = column.show or "{:.2f}".format
    return f"{show(cell.low)}\u2013{show(cell.high)}"


def with_interval(column: Column, cell: Cell) -> str:
    """A cell as text, with the interval of an estimate."""
    return f"{shown(column, cell)} ({interval(column, cell)})" if isinstance(cell, Estimate) else shown(column, cell)


def to_csv(table: Table) -> str:
    """The table as CSV with all digits; an estimate has the columns estimate, low, high and n."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads: list[str] = []
    for column in table.columns:
        if column.kind == "estimate":
            name = column.title.removesuffix(" (95% CI)")
            heads += [name, f"{name} low", f"{name} high", f"{name} n"]
        else:
            heads.append(column.title)
    writer.writerow(heads)
    for row in table.rows:
        cells: list[object] = []
        for column, cell in zip(table.columns, row, strict=True):
            if column.kind == "estimate":
                cells += [cell.estimate, cell.low, cell.high, cell.n] if isinstance(cell, Estimate) else [""] * 4
            else:
                cells.append("" if cell is None else cell)
        writer.writerow(cells)
    return out.getvalue()


def to_markdown(table: Table) -> str:
    """The table in GitHub's Markdown, with its caption."""
    align = ["---" if column.is_text else "---:" for column in table.columns]
    lines = [[_marked(column.title) for column in table.columns], align]
    lines += [
        [_marked(with_interval(column, cell)) for column, cell in zip(table.columns, row, strict=True)]
        for row in table.rows
    ]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    note = f"\n\n{_marked(table.note)}" if table.note else ""
    return f"**{_marked(table.caption)}**\n\n{body}{note}\n"


def _marked(content: str) -> str:
    escaped = content.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
    return " ".join(escaped.replace("_", "\\_").split())


def to_latex(table: Table) -> str:
    """The table as a LaTeX table environment for the package booktabs, with caption and label."""
    align = "".join("l" if column.is_text else "r" for column in table.columns)
    lines = [
        r"\begin{table}",
        rf"\caption{{{_latex(table.caption)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        " & ".join(_latex(column.title) for column in table.columns) + r" \\",
        r"\midrule",
    ]
    for row in table.rows:
        cells = (_latex(with_interval(column, cell)) for column, cell in zip(table.columns, row, strict=True))
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _latex(content: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(content.split()))
