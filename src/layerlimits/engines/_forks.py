"""One forward pass over the texts of a batch for many variants: each variant forks from the base at its first removed
layer.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from layerlimits.engines._pool import Pool
from layerlimits.engines._rows import Rows
from layerlimits.engines._trees import Tree, inputs
from layerlimits.types import Variant


def read(
    rows: Rows,
    texts: Sequence[Sequence[int]],
    variants: Sequence[Variant],
    wanted: Sequence[tuple[int, int, int]],
    max_positions: int = 0,
) -> tuple[Iterator[tuple[slice, Tensor]], Pool]:
    """Run texts through all variants.

    Args:
        rows: the opened model.
        texts: token ids, of any lengths.
        variants: the removed layers of each.
        wanted: (variant, text, position) of the W rows of logits to return.
        max_positions: columns to reserve for keys and values if decoding continues from here.
    Returns:
        Slices of `wanted` with their logits (w, V), and the pool: first the base's rows, one per text, then those of
        each variant, which follow them. The pool is filled when the first slice is taken.
    """
    pool = _pool(len(rows.layers), len(texts), variants, max_positions, rows.device)
    width = max(map(len, texts))
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=rows.device)
    positions = torch.arange(width, device=rows.device)[None]
    places = _places(wanted, len(texts))
    return rows.logits(pool, ids[pool.leader.to(rows.device)], positions, width, places), pool


def read_trees(
    rows: Rows, trees: Sequence[Tree], variants: Sequence[Variant], wanted: Sequence[tuple[int, int, int]]
) -> Iterator[tuple[slice, Tensor]]:
    """Run trees of texts through all variants.

    Args:
        rows, variants: as for `read`.
        trees: the trees.
        wanted: (variant, tree, column) of the W rows of logits to return.
    Returns:
        Slices of `wanted` with their logits (w, V).
    """
    pool = _pool(len(rows.layers), len(trees), variants, 0, rows.device)
    ids, positions, attended = inputs(trees, rows.device)
    leader = pool.leader.to(rows.device)
    places = _places(wanted, len(trees))
    return rows.logits(pool, ids[leader], positions[leader], ids.shape[1], places, attended)


def _places(wanted: Sequence[tuple[int, int, int]], texts: int) -> tuple[Tensor, Tensor]:
    """Rows of the pool, and columns, of the wanted logits."""
    variant, text, column = torch.tensor(wanted, dtype=torch.long).view(-1, 3).unbind(1)
    return texts * (1 + variant) + text, column


def _pool(depth: int, texts: int, variants: Sequence[Variant], max_positions: int, device: torch.device) -> Pool:
    present = torch.ones(depth, 1 + len(variants), dtype=torch.bool)
    for column, variant in enumerate(variants, 1):
        present[list(variant), column] = False
    has_layer = present.repeat_interleave(texts, dim=1)
    return Pool(has_layer, torch.arange(texts).repeat(1 + len(variants)), max_positions, device)
