"""One forward pass over the texts of a batch for many variants: each variant forks from the base at its first removed
layer.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from layerlimits.engines._pool import Pool
from layerlimits.engines._rows import Rows
from layerlimits.types import Variant


def read(
    rows: Rows,
    texts: Sequence[Sequence[int]],
    variants: Sequence[Variant],
    wanted: Sequence[tuple[int, int, int]],
    max_positions: int = 0,
) -> tuple[Tensor, Pool]:
    """Run texts through all variants.

    Args:
        rows: the opened model.
        texts: token ids, of any lengths.
        variants: the removed layers of each.
        wanted: (variant, text, position) of the W rows of logits to return.
        max_positions: columns to reserve for keys and values if decoding continues from here.
    Returns:
        Logits (W, V), and the pool: first the base's rows, one per text, then those of each variant, which follow them.
    """
    pool = _pool(len(rows.layers), len(texts), variants, max_positions, rows.device)
    width = max(map(len, texts))
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=rows.device)
    positions = torch.arange(width, device=rows.device)[None]
    places = (
        torch.tensor([len(texts) * (1 + variant) + text for variant, text, _ in wanted]),
        torch.tensor([position for _, _, position in wanted]),
    )
    return rows.logits(pool, ids[pool.leader.to(rows.device)], positions, width, places), pool


def _pool(depth: int, texts: int, variants: Sequence[Variant], max_positions: int, device: torch.device) -> Pool:
    present = torch.ones(depth, 1 + len(variants), dtype=torch.bool)
    for column, variant in enumerate(variants, 1):
        present[list(variant), column] = False
    has_layer = present.repeat_interleave(texts, dim=1)
    return Pool(has_layer, torch.arange(texts).repeat(1 + len(variants)), max_positions, device)
