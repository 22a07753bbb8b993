"""One forward pass over the texts of a batch for many variants: each variant forks from the base at its first removed
layer.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from layerlimits.engines._pool import Pool
from layerlimits.engines._rows import Rows
from layerlimits.engines._trees import Tree, inputs
from layerlimits.types import Variant


@dataclass(frozen=True)
class Reading:
    """How texts are read.

    Args:
        tokens: maximum number of tokens of a pass; longer texts are read in several passes, whose keys and values are
            stored.
        on_pass: called after each pass but the last with the share of the texts that has been read.
    """

    tokens: int
    on_pass: Callable[[float], None]


class Root:
    """Tokens that were read for the base and for variants.

    Args:
        length: number of tokens.
        pool: their keys and values: a row of the base, and then one of each variant.
        variants: the variants.
    """

    def __init__(self, length: int, pool: Pool, variants: Sequence[Variant]) -> None:
        self.length, self.pool = length, pool
        self._rows = {variant: row for row, variant in enumerate(variants, 1)}

    def rows(self, variants: Sequence[Variant], texts: int) -> Tensor:
        """Rows of the pool for rows that continue them: those of the base, one per text, then those of each variant."""
        return torch.tensor([0, *(self._rows[variant] for variant in variants)]).repeat_interleave(texts)


def read(
    rows: Rows,
    texts: Sequence[Sequence[int]],
    variants: Sequence[Variant],
    wanted: Sequence[tuple[int, int, int]],
    max_positions: int = 0,
    reading: Reading | None = None,
    root: Root | None = None,
) -> tuple[Iterator[tuple[slice, Tensor]], Pool]:
    """Run texts through all variants.

    Args:
        rows: the opened model.
        texts: token ids, of any lengths.
        variants: the removed layers of each.
        wanted: (variant, text, position) of the W rows of logits to return.
        max_positions: columns to reserve for keys and values if decoding continues from here.
        reading: limits of the passes that come before the wanted logits; None: one pass.
        root: tokens that come before every text, already read.
    Returns:
        Slices of `wanted` with their logits (w, V), and the pool: first the base's rows, one per text, then those of
        each variant, which follow them. The last pass takes place when the first slice is taken.
    """
    width, before = max(map(len, texts)), root.length if root else 0
    pool = _pool(len(rows.layers), len(texts), variants, max_positions, rows.device, root)
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=rows.device)
    ids = ids[pool.leader.to(rows.device)]
    start = 0
    if reading:
        size = _positions_per_pass(reading.tokens, pool.size)
        none = torch.empty(0, dtype=torch.long)
        first = min(column for _, _, column in wanted)
        while start + size <= first:
            read_ids, visible = ids[:, start : start + size], before + start + size
            positions = torch.arange(before + start, visible, device=rows.device)[None]
            for _ in rows.logits(pool, read_ids, positions, visible, (none, none)):
                # The only slice is empty.
                pass
            start += size
            reading.on_pass(start / width)
    positions = torch.arange(before + start, before + width, device=rows.device)[None]
    places, columns = _places(wanted, len(texts))
    return rows.logits(pool, ids[:, start:], positions, before + width, (places, columns - start)), pool


def _positions_per_pass(tokens: int, rows: int) -> int:
    """Number of positions to read per pass: a row is computed only after its fork, in half of the layers on average."""
    return max(1, 2 * tokens // rows)


def read_trees(
    rows: Rows,
    trees: Sequence[Tree],
    variants: Sequence[Variant],
    wanted: Sequence[tuple[int, int, int]],
    root: Root | None = None,
) -> Iterator[tuple[slice, Tensor]]:
    """Run trees of texts through all variants.

    Args:
        rows, variants, root: as for `read`.
        trees: the trees.
        wanted: (variant, tree, column) of the W rows of logits to return.
    Returns:
        Slices of `wanted` with their logits (w, V).
    """
    before = root.length if root else 0
    pool = _pool(len(rows.layers), len(trees), variants, before, rows.device, root)
    ids, positions, attended = inputs(trees, rows.device, before)
    leader = pool.leader.to(rows.device)
    places = _places(wanted, len(trees))
    return rows.logits(pool, ids[leader], positions[leader], ids.shape[1], places, attended)


def _places(wanted: Sequence[tuple[int, int, int]], texts: int) -> tuple[Tensor, Tensor]:
    """Rows of the pool, and columns, of the wanted logits."""
    variant, text, column = torch.tensor(wanted, dtype=torch.long).view(-1, 3).unbind(1)
    return texts * (1 + variant) + text, column


def _pool(
    depth: int,
    texts: int,
    variants: Sequence[Variant],
    max_positions: int,
    device: torch.device,
    root: Root | None,
) -> Pool:
    present = torch.ones(depth, 1 + len(variants), dtype=torch.bool)
    for column, variant in enumerate(variants, 1):
        present[list(variant), column] = False
    has_layer = present.repeat_interleave(texts, dim=1)
    pool = Pool(has_layer, torch.arange(texts).repeat(1 + len(variants)), max_positions, device)
    if root:
        pool.start_from(root.pool, root.rows(variants, texts))
    return pool
