"""Results of ranking layers by one method, and by several."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from layerlimits.results.frames import Document
from layerlimits.results.rows import plain


@dataclass(frozen=True)
class MethodRanking:
    """A method's ranking.

    Args:
        scores: One entry per layer; None if the layer has no score or an infinite one, which JSON cannot represent.
        infinite: Layers with an infinite score.
        order: Layers in the order of removal.
        used: Ids of the items that the method used.
        items: Number of items in `used`.
    """

    method: str
    scores: tuple[float | None, ...]
    infinite: tuple[int, ...]
    order: tuple[int, ...]
    largest_first: bool
    layers: int
    protected: tuple[int, ...]
    items: int
    used: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class RankResults(Document):
    """The ranking of a model's layers by one method; `warnings` say what was quantized, or not used."""

    model: str
    ranking: MethodRanking
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The ranking and the model's name as plain JSON values."""
        return {"model": self.model, **plain(self.ranking), "warnings": list(self.warnings)}

    def records(self) -> list[dict[str, Any]]:
        """A row per layer; `place` is 1 for the first layer to remove, and missing for protected layers."""
        ranking = self.ranking
        places = {layer: place for place, layer in enumerate(ranking.order, 1)}
        scores = [math.inf if layer in ranking.infinite else score for layer, score in enumerate(ranking.scores)]
        return [{"layer": layer, "score": score, "place": places.get(layer)} for layer, score in enumerate(scores)]

    @property
    def title(self) -> str:
        """The heading in a notebook."""
        return f"{self.model}: removal order by {self.ranking.method}"


@dataclass(frozen=True)
class RankingsComparison(Document):
    """Rankings of several methods and their agreement on the first `n` layers; `failed` has the reasons by method."""

    model: str
    layers: int
    n: int
    rankings: Mapping[str, MethodRanking]
    failed: Mapping[str, str]
    kendall_tau: Mapping[str, Mapping[str, float | None]]
    overlap: Mapping[str, Mapping[str, float]]
    warnings: tuple[str, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """A row per method and removed layer, first to remove first."""
        return [
            {"method": method, "place": place, "layer": layer}
            for method, ranking in self.rankings.items()
            for place, layer in enumerate(ranking.order, 1)
        ]

    @property
    def title(self) -> str:
        """The heading in a notebook."""
        return f"{self.model}: {self.n} of {self.layers} layers to remove"
