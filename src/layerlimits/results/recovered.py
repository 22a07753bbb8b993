"""The results of `recover` as a typed document."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from layerlimits.results.frames import Document


@dataclass(frozen=True)
class RecoverResults(Document):
    """A finetuned checkpoint; `trained_tokens` counts response tokens over all epochs.

    `dropped_by_reason` says why responses were not used. `adapted` and `not_adapted` name the weight matrices with and
    without LoRA adapters; both are empty without LoRA. `curve` has a point per milestone: trained tokens, losses, and
    the scores of the selection items by task; the checkpoint has the weights after `best_tokens` tokens.
    """

    model: str
    parent: str
    pruned: str
    examples: int
    dropped: int
    trained_tokens: int
    seconds: float
    adapted: tuple[str, ...] = ()
    not_adapted: tuple[str, ...] = ()
    objective: str = "self"
    dropped_by_reason: Mapping[str, int] = field(default_factory=dict)
    curve: tuple[Mapping[str, Any], ...] = ()
    best_tokens: int | None = None
