"""`methods`: what can choose layers and what can fill the gap."""

from typing import TYPE_CHECKING

from layerlimits.cli.options import (
    Json,
)
from layerlimits.cli.printing import show, show_json, table

if TYPE_CHECKING:
    from layerlimits.results.document import Catalogue


def methods(as_json: Json = False) -> None:
    """The methods that choose layers and the replacements that fill the gap, with their sources and costs."""
    from layerlimits import api

    results = api.catalogue()
    show_json(results) if as_json else show_catalogue(results)


def show_catalogue(results: "Catalogue") -> None:
    """Two tables for people."""
    titles = {
        "Methods: which layers go first": results.methods,
        "Replacements: what fills the gap": results.replacements,
    }
    columns = ("name", "options", "source", "cost")
    for title, entries in titles.items():
        listed = table(title, columns, left=columns, whole=("name",))
        for entry in entries:
            options = "\n".join(f"{name}={default}" for name, default in entry.options.items())
            listed.add_row(entry.name, options, entry.source, entry.cost)
        show(listed)
