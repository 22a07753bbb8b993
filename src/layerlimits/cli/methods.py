"""The `methods` command: the available methods and replacements."""

from typing import TYPE_CHECKING

from layerlimits.cli.options import (
    Json,
)
from layerlimits.cli.printing import show, show_json, table

if TYPE_CHECKING:
    from layerlimits.results.catalogue import Catalogue


def methods(as_json: Json = False) -> None:
    """List the methods that select layers and the replacements for removed layers, with sources and costs."""
    from layerlimits import api

    results = api.catalogue()
    show_json(results) if as_json else show_catalogue(results)


def show_catalogue(results: "Catalogue") -> None:
    """Print the methods and the replacements as two tables."""
    titles = {
        "Methods: how the layers to remove are selected": results.methods,
        "Replacements: what compensates for removed layers": results.replacements,
    }
    columns = ("name", "options", "source", "cost")
    for title, entries in titles.items():
        listed = table(title, columns, left=columns, whole=("name",))
        for entry in entries:
            options = "\n".join(f"{name}={default}" for name, default in entry.options.items())
            listed.add_row(entry.name, options, entry.source, entry.cost)
        show(listed)
