"""The results of verifying and merging run folders."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from layerlimits.results.frames import Document


@dataclass(frozen=True)
class Damage:
    """Rows of a table, or files, with the same problem.

    Args:
        table: The table, "database" for the file as a whole, or "files" for other files.
        problem: What is wrong.
        count: Number of rows or files.
        example: One of them.
    """

    table: str
    problem: str
    count: int
    example: str


@dataclass(frozen=True)
class VerifyResults(Document):
    """What a verification of a run folder has found.

    Args:
        run: The run folder.
        schema: Version of its tables.
        rows: Number of sound rows by table.
        damages: What is damaged.
        notes: Remarks that are not damages.
    """

    run: str
    schema: int
    rows: Mapping[str, int]
    damages: tuple[Damage, ...]
    notes: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged."""
        return not self.damages

    def to_json(self) -> dict[str, Any]:
        """As in `Document`, with `sound`."""
        return {"sound": self.sound, **super().to_json()}

    def records(self) -> list[dict[str, Any]]:
        """One row per damage."""
        return [dict(vars(damage)) for damage in self.damages]


@dataclass(frozen=True)
class MergeResults(Document):
    """Run folders that were merged into a new one.

    Args:
        run: The new run folder.
        sources: The merged run folders.
        model: Name of the unpruned model.
        responses: Number of responses in the new folder.
        added: Responses that each source has added.
        conflicts: Responses of which sources have different texts; that of the first source is kept.
        dropped: Rows of the sources that are damaged and left out.
    """

    run: str
    sources: tuple[str, ...]
    model: str
    responses: int
    added: tuple[int, ...]
    conflicts: int
    dropped: int
