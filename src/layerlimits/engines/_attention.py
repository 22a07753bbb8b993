"""Attention of a few new tokens per row when several query heads share a head of keys and values.

For one token, transformers passes the query heads of such a group to the kernel as further queries. For several tokens
under a mask, it repeats keys and values for each query head, which copies the whole cache in every layer: with 14 query
heads and 2 of keys and values this took five times as long as the attention itself (LOG.md). Here the tokens of a group
are further queries as well, each with its own row of the mask; the sums are the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

_NAME = "sdpa"


@contextmanager
def grouped_attention() -> Iterator[None]:
    """Inside the block, models whose attention is "sdpa" use `attention`."""
    before = ALL_ATTENTION_FUNCTIONS[_NAME]
    ALL_ATTENTION_FUNCTIONS[_NAME] = attention
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS[_NAME] = before


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """As `sdpa_attention_forward` of transformers, with H query heads in G groups.

    Args:
        module: the attention module.
        query: (R, H, Q, D).
        key, value: (R, G, T, D); the values may have another last dimension.
        attention_mask: added to the scores, (R or 1, 1, Q, T); None if attention is causal.
        dropout, scaling, kwargs: passed on.
    Returns:
        The output (R, Q, H, D), and None instead of the weights.
    """
    groups, length = key.shape[1], query.shape[2]
    shared = attention_mask is not None and attention_mask.shape[1] == 1
    plain = not any(part is not None for part in (kwargs.get("position_bias"), kwargs.get("softcap")))
    if length == 1 or groups == query.shape[1] or not shared or not plain:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **kwargs)
    assert attention_mask is not None
    rows, heads, _, width = query.shape
    each = heads // groups
    mask = attention_mask[:, :, None].expand(-1, -1, each, -1, -1).flatten(2, 3)
    output = nn.functional.scaled_dot_product_attention(
        query.reshape(rows, groups, each * length, width),
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        scale=scaling,
    )
    return output.reshape(rows, heads, length, value.shape[-1]).transpose(1, 2).contiguous(), None
