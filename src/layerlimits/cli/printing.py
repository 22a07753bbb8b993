"""How results are shown to people: tables and lines in which no text of others is read as markup."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.table import Table

if TYPE_CHECKING:
    from layerlimits.results.document import Document
    from layerlimits.types import Estimate


def show(content: RenderableType) -> None:
    """Print a table or text; square brackets and colons in names of models, tasks and files stay as they are."""
    Console(markup=False, emoji=False, highlight=False).print(content)


def show_json(results: "Document") -> None:
    """JSON on stdout."""
    print(json.dumps(results.to_json(), indent=1))


def table(title: str, columns: Sequence[str], left: Sequence[str] = (), whole: Sequence[str] = ()) -> Table:
    """An empty table.

    Args:
        title, columns: its heading and the columns' headings.
        left: columns of text, aligned left; others hold numbers.
        whole: columns that are never wrapped.
    """
    made = Table(title=title)
    for column in columns:
        made.add_column(column, justify="left" if column in left else "right", no_wrap=column in whole)
    return made


def interval(estimate: "Estimate") -> str:
    """The 95% interval of a figure."""
    return f"{estimate.low:.3f} to {estimate.high:.3f}"


def counted(outcomes: Mapping[Any, int]) -> str:
    """How many responses had each outcome."""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in outcomes.items())


def show_warnings(warnings: Sequence[str]) -> None:
    """A line for each."""
    for warning in warnings:
        print(f"note: {warning}")
