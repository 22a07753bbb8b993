"""The available methods and replacements."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from layerlimits.results.frames import Document, rows_of


@dataclass(frozen=True)
class CatalogueEntry:
    """A method or replacement: its summary, its options with their defaults, its source and its cost."""

    name: str
    summary: str
    options: Mapping[str, Any]
    source: str
    cost: str


@dataclass(frozen=True)
class Catalogue(Document):
    """The available methods and replacements."""

    methods: tuple[CatalogueEntry, ...]
    replacements: tuple[CatalogueEntry, ...]

    def records(self) -> list[dict[str, Any]]:
        """A row per method and replacement."""
        return rows_of({"method": self.methods, "replacement": self.replacements}, "kind")

    @property
    def title(self) -> str:
        """The heading in a notebook."""
        return "Methods that select layers, and replacements for removed layers"
