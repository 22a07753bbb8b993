"""Print results as tables and lines. Names of models, tasks and files are never interpreted as markup."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.table import Table

if TYPE_CHECKING:
    from layerlimits.results.frames import Document
    from layerlimits.types import Estimate


def show(content: RenderableType) -> None:
    """Print a table or text; square brackets and colons in names are printed literally."""
    Console(markup=False, emoji=False, highlight=False).print(content)


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
    empty = Table(title=title)
    for column in columns:
        empty.add_column(column, justify="left" if column in left else "right", no_wrap=column in whole)
    return empty


def interval(estimate: "Estimate") -> str:
    """The 95% confidence interval of an estimate, as text."""
    return f"{estimate.low:.3f} to {estimate.high:.3f}"


def counted(outcomes: Mapping[Any, int]) -> str:
    """The number of responses with each outcome, as text."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in outcomes.items())


def show_warnings(warnings: Sequence[str]) -> None:
    """Print one warning per line."""
    for warning in warnings:
        print(f"warning: {warning}")
