"""Print results as tables and lines. Names of models, tasks and files are never interpreted as markup."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.table import Table

from layerlimits.errors import printable

if TYPE_CHECKING:
    from layerlimits.results.frames import Document
    from layerlimits.types import Estimate


def show(content: RenderableType) -> None:
    """Print a table or text; square brackets and colons in names are printed literally."""
    Console(markup=False, emoji=False, highlight=False).print(
        printable(content) if isinstance(content, str) else content
    )


def show_json(results: "Document") -> None:
    """Print results as JSON on stdout."""
    print(json.dumps(results.to_json(), indent=1))


def table(title: str, columns: Sequence[str], left: Sequence[str] = (), whole: Sequence[str] = ()) -> Table:
    """An empty table.

    Args:
        title: Title of the table.
        columns: Column headings.
        left: Text columns, left-aligned; the others contain numbers.
        whole: Columns that are never wrapped.
    """
    empty = _Table(title=printable(title))
    for column in columns:
        empty.add_column(column, justify="left" if column in left else "right", no_wrap=column in whole)
    return empty


class _Table(Table):
    """A table whose cells may contain names of models, tasks and files."""

    def add_row(self, *cells: RenderableType | None, **style: Any) -> None:
        """Add a row; control characters of text cells are escaped."""
        super().add_row(*(printable(cell) if isinstance(cell, str) else cell for cell in cells), **style)


def say(text: str) -> None:
    """Print one line on stdout; control characters of names in it are escaped."""
    print(printable(text))


def interval(estimate: "Estimate") -> str:
    """The 95% confidence interval of an estimate, as text."""
    return f"{estimate.low:.3f} to {estimate.high:.3f}"


def counted(outcomes: Mapping[Any, int]) -> str:
    """The number of responses with each outcome, as text."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in outcomes.items())


def upload(folder: Path, repository: str, *, as_json: bool) -> None:
    """Upload a checkpoint, and print its address; on stderr if stdout is JSON."""
    from layerlimits import api

    url = api.push_to_hub(folder, repository)
    print(printable(f"uploaded: {url}"), file=sys.stderr if as_json else sys.stdout)


def show_warnings(warnings: Sequence[str]) -> None:
    """Print one warning per line."""
    for warning in warnings:
        say(f"warning: {warning}")
