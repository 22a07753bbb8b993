"""Replacements fill the gap that removed layers leave. One file each, exporting one function.

A replacement is `def name(context: ReplacementContext, *, option=default, ...) -> dict[str, Any]`: it changes weights of kept
layers in place, and never the model's form, so the result is a checkpoint of the same architecture with fewer layers.
What it returns is JSON for the checkpoint's recipe. Its docstring gives the formula and ends with a line `Source:` and
a line `Cost:`. Everything is in the unpruned model's numbering.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from transformers import PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.stream import Batch, batches

BATCH_TOKENS = 4096


@dataclass(frozen=True)
class ReplacementContext:
    """What a replacement works on.

    Args:
        model: the unpruned model, changed in place; the caller takes the layers out afterwards.
        removed: ascending.
        texts: calibration text as token ids.
        merges: (layer merged into, layers absorbed), in sequence, where the method that chose the layers says so.
        tick: called with the share of the work just done; the shares add up to 1.
    """

    model: PreTrainedModel
    removed: tuple[int, ...]
    texts: tuple[tuple[int, ...], ...]
    merges: tuple[tuple[int, tuple[int, ...]], ...] = ()
    seed: int = 0
    on_progress: Callable[[float], None] = field(default=lambda share: None)

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """The runs of adjacent removed layers, as (first, last), ascending."""
        starts = [layer for layer in self.removed if layer - 1 not in self.removed]
        ends = [layer for layer in self.removed if layer + 1 not in self.removed]
        return tuple(zip(starts, ends, strict=True))

    def gaps_after_a_layer(self, replacement: str) -> tuple[tuple[int, int], ...]:
        """The gaps, for a replacement that changes the layer before each.

        Raises:
            UserError: a gap that starts at layer 0.
        """
        if 0 in self.removed:
            raise UserError(
                f"{replacement} changes the layer before a gap, and there is none before layer 0",
                "keep layer 0, or use another replacement",
            )
        return self.gaps

    def batches(self, tokens: int = BATCH_TOKENS) -> Iterator[Batch]:
        """The texts in batches of about `tokens` positions.

        Raises:
            UserError: no calibration token.
        """
        if not any(self.texts):
            raise UserError(
                f"{len(self.texts)} calibration texts hold no token", "give calibration text that is not empty"
            )
        return batches(self.model, self.texts, tokens)

    def share(self, batch: Batch) -> float:
        """The part of the texts' tokens that a batch holds."""
        return float(batch.mask.sum()) / sum(map(len, self.texts))


Replacement = Callable[[ReplacementContext], dict[str, Any]]
