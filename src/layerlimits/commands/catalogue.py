"""`methods`: what can choose layers and what can fill the gap, with sources and costs."""

import inspect
from typing import Any

from rich.console import Console
from rich.table import Table

from layerlimits.plugins import described, find, names, options_of

_FOLDERS = ("methods", "replacements")


def catalogue() -> dict[str, Any]:
    """{"methods": [{"name", "summary", "options": {name: default}, "source", "cost"}], "replacements": [...]}."""
    return {folder: [_entry(folder, name) for name in names(folder)] for folder in _FOLDERS}


def _entry(folder: str, name: str) -> dict[str, Any]:
    plugin = find(folder, name)
    return {
        "name": name,
        "summary": (inspect.getdoc(plugin) or "").split("\n\n")[0].replace("\n", " "),
        "options": {option: parameter.default for option, parameter in options_of(plugin).items()},
        "source": described(plugin, "Source"),
        "cost": described(plugin, "Cost"),
    }


def show(results: dict[str, Any]) -> None:
    """Two tables for people."""
    titles = {"methods": "Methods: which layers go first", "replacements": "Replacements: what fills the gap"}
    for folder in _FOLDERS:
        table = Table(title=titles[folder])
        for column in ("name", "options", "source", "cost"):
            table.add_column(column, no_wrap=column == "name")
        for entry in results[folder]:
            options = "\n".join(f"{name}={default}" for name, default in entry["options"].items())
            table.add_row(entry["name"], options, entry["source"], entry["cost"])
        Console().print(table)
