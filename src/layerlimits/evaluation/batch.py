"""Prompts that are given to the engine together, and the responses to them that are missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from layerlimits.evaluation.prompts import Prompt
from layerlimits.evaluation.store import Key
from layerlimits.types import Sample, Task, Variant


@dataclass(frozen=True)
class Batch:
    """Prompts of one task and draw, and the variants with missing responses to them.

    `keys` has one key per prompt for each of these variants; keys in `missing` are not stored yet.
    """

    task: Task
    draw: int
    prompts: Sequence[Prompt]
    max_new_tokens: int
    keys: Mapping[Variant, Sequence[Key]]
    missing: Mapping[Key, Sample]

    @property
    def variants(self) -> list[Variant]:
        """The variants with missing responses."""
        return list(self.keys)
