"""One pass over the texts of a batch for many variants: each forks from the base where its first layer is missing.

Up to there a variant computes what the base computes, so the base's rows stand for it; from there on it has rows of its
own. Rows are numbered base first, then variants by the layer they fork at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from layerlimits.engines._pool import Pool
from layerlimits.engines._rows import Call, Rows

Variant = tuple[int, ...]


@dataclass
class Forked:
    """The keys and values that a pass left behind, and where to find those of a variant's row.

    Args:
        texts: rows of the base, N.
        variants: in the order given; the base alone is `()`.
    """

    texts: int
    variants: Sequence[Variant]
    depth: int
    keys: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        forks = sorted(
            (at for at, variant in enumerate(self.variants) if variant), key=lambda at: min(self.variants[at])
        )
        self.forks = forks
        self.first = {at: min(self.variants[at]) for at in forks}
        self._start = {at: self.texts * (1 + place) for place, at in enumerate(forks)}
        self._gone = [set(variant) for variant in self.variants]
        self._rows = [self._computed(layer) for layer in range(self.depth)]

    @property
    def size(self) -> int:
        """Rows at the end, those of the base included."""
        return self.texts * (1 + len(self.forks))

    def row(self, variant: int, text: int) -> int:
        """The row of a variant's text at the end."""
        return self._start.get(variant, 0) + text

    def rows(self, layer: int) -> Tensor | None:
        """The rows that compute a layer; None for all. The base goes on as long as it or a fork is asked for."""
        return self._rows[layer]

    def new(self, layer: int) -> int:
        """How many variants fork at a layer."""
        return sum(first == layer for first in self.first.values())

    def _computed(self, layer: int) -> Tensor | None:
        there = [at for at in self.forks if self.first[at] <= layer]
        base = len(there) < len(self.forks) or any(not variant for variant in self.variants)
        blocks = [0] if base else []
        blocks += [self._start[at] for at in there if layer not in self._gone[at]]
        if len(blocks) == 1 + len(there):
            return None
        return torch.cat(
            [torch.arange(start, start + self.texts) for start in blocks] or [torch.empty(0, dtype=torch.long)]
        )

    def pool(self, chosen: Sequence[tuple[int, int]], columns: int) -> Pool:
        """The (variant, text) rows chosen, to be decoded on; they may come to need so many columns."""
        ends = torch.tensor([self.row(variant, text) for variant, text in chosen])
        texts = torch.tensor([text for _, text in chosen])
        forked = torch.tensor([self.first.get(variant, self.depth) for variant, _ in chosen])
        kept = torch.stack(
            [torch.tensor([layer not in self._gone[variant] for variant, _ in chosen]) for layer in range(self.depth)]
        )
        keys: list[Tensor | None] = []
        values: list[Tensor | None] = []
        for layer in range(self.depth):
            # Before its fork a row's keys are those of the base.
            source = torch.where(forked <= layer, ends, texts)[kept[layer]]
            places = self._places(layer, source)
            keys.append(self.keys[layer][places] if len(places) else None)
            values.append(self.values[layer][places] if len(places) else None)
        return Pool(kept, keys, values, columns)

    def _places(self, layer: int, rows: Tensor) -> Tensor:
        computed = self._rows[layer]
        if computed is None:
            return rows
        place = torch.full((self.size,), -1)
        place[computed] = torch.arange(len(computed))
        return place[rows]


def forked(
    rows: Rows, texts: Sequence[Sequence[int]], variants: Sequence[Variant], wanted: Sequence[tuple[int, int, int]]
) -> tuple[Tensor, Forked]:
    """Run texts through all variants.

    Args:
        rows: the opened model.
        texts: token ids, of any lengths.
        variants: the layers each lacks.
        wanted: (variant, text, position) of the logits to return.
    Returns:
        Logits (W, V), and what is needed to decode on.
    """
    left = Forked(len(texts), variants, len(rows.layers))
    width = max(map(len, texts))
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=rows.device)
    places = torch.arange(width, device=rows.device)[None]

    def enter(layer: int, hidden: Tensor) -> Tensor:
        return torch.cat([hidden, *[hidden[: len(texts)]] * left.new(layer)])

    def write(layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        left.keys[layer], left.values[layer] = keys, values
        return keys, values

    at = (
        torch.tensor([left.row(variant, text) for variant, text, _ in wanted], device=rows.device),
        torch.tensor([position for _, _, position in wanted], device=rows.device),
    )
    call = Call(enter, left.rows, write, lambda layer: places, width, at)
    return rows.logits(ids, places, call), left
