"""`catalogue`: the methods that select layers and the replacements for removed layers, with sources and costs."""

import inspect

from layerlimits.plugins import described, find, names, options_of
from layerlimits.results.catalogue import Catalogue, CatalogueEntry


def catalogue() -> Catalogue:
    """List all methods and replacements, with their options, source and cost.

    Example:
        >>> [entry.name for entry in catalogue().methods][:2]
        ['angular', 'block_influence']
    """
    return Catalogue(_entries("methods"), _entries("replacements"))


def _entries(folder: str) -> tuple[CatalogueEntry, ...]:
    return tuple(_entry(folder, name) for name in names(folder))


def _entry(folder: str, name: str) -> CatalogueEntry:
    plugin = find(folder, name)
    return CatalogueEntry(
        name=name,
        summary=(inspect.getdoc(plugin) or "").split("\n\n")[0].replace("\n", " "),
        options={option: parameter.default for option, parameter in options_of(plugin).items()},
        source=described(plugin, "Source"),
        cost=described(plugin, "Cost"),
    )
