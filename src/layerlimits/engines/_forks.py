"""One pass over the texts of a batch for many variants: each forks from the base where its first layer is missing."""

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
    columns: int = 0,
) -> tuple[Tensor, Pool]:
    """Run texts through all variants.

    Args:
        rows: the opened model.
        texts: token ids, of any lengths.
        variants: the layers each lacks.
        wanted: (variant, text, position) of the logits to return.
        columns: room for keys and values, where decoding is to go on from here.
    Returns:
        Logits (W, V), and the rows: the base's first, one a text, then those of each variant, which follow them.
    """
    pool = _pool(len(rows.layers), len(texts), variants, columns, rows.device)
    width = max(map(len, texts))
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=rows.device)
    at = torch.arange(width, device=rows.device)[None]
    places = (
        torch.tensor([len(texts) * (1 + variant) + text for variant, text, _ in wanted]),
        torch.tensor([position for _, _, position in wanted]),
    )
    return rows.logits(pool, ids[pool.lead.to(rows.device)], at, width, places), pool


def _pool(depth: int, texts: int, variants: Sequence[Variant], columns: int, device: torch.device) -> Pool:
    kept = torch.ones(depth, 1 + len(variants), dtype=torch.bool)
    for at, variant in enumerate(variants):
        kept[list(variant), 1 + at] = False
    alone = kept.repeat_interleave(texts, dim=1)
    return Pool(alone, torch.arange(texts).repeat(1 + len(variants)), columns, device)
