"""Replacements compensate for removed layers by changing the remaining ones. Each file exports one function.

A replacement is `def name(context: ReplacementContext, *, option=default, ...) -> dict[str, Any]`. It modifies weights
of remaining layers in place but never the architecture, so the result is a standard checkpoint with fewer layers. The
returned dict is JSON for the checkpoint's recipe. The docstring gives the formula and ends with a `Source:` line and a
`Cost:` line. Layers are numbered as in the unpruned model.
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
    """The inputs of a replacement.

    Args:
        model: The unpruned model, modified in place; the caller removes the layers afterwards.
        removed: The removed layers, ascending.
        texts: Calibration text as token ids.
        merges: Pairs (layer merged into, absorbed layers) in order, if the method that chose the layers merges layers.
        seed: Seed for replacements that draw random numbers.
        on_progress: Called with the fraction of the work just completed; the fractions add up to 1.
    """

    model: PreTrainedModel
    removed: tuple[int, ...]
    texts: tuple[tuple[int, ...], ...]
    merges: tuple[tuple[int, tuple[int, ...]], ...] = ()
    seed: int = 0
    on_progress: Callable[[float], None] = field(default=lambda share: None)

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """The blocks of adjacent removed layers as (first, last), ascending."""
        starts = [layer for layer in self.removed if layer - 1 not in self.removed]
        ends = [layer for layer in self.removed if layer + 1 not in self.removed]
        return tuple(zip(starts, ends, strict=True))

    def gaps_after_a_layer(self, replacement: str) -> tuple[tuple[int, int], ...]:
        """The gaps, for a replacement that modifies the layer before each gap.

        Raises:
            UserError: A gap starts at layer 0.
        """
        if 0 in self.removed:
            raise UserError(
                f"{replacement} modifies the layer before each gap, but no layer precedes layer 0",
                "keep layer 0, or use a different replacement",
            )
        return self.gaps

    def batches(self, tokens: int = BATCH_TOKENS) -> Iterator[Batch]:
        """The texts in batches of about `tokens` positions.

        Raises:
            UserError: The calibration text contains no token.
        """
        if not any(self.texts):
            raise UserError(
                f"the {len(self.texts)} calibration texts contain no token", "use calibration text that is not empty"
            )
        return batches(self.model, self.texts, tokens)

    def share(self, batch: Batch) -> float:
        """The fraction of all tokens that a batch contains."""
        return float(batch.mask.sum()) / sum(map(len, self.texts))


Replacement = Callable[[ReplacementContext], dict[str, Any]]
