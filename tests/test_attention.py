"""Attention of several tokens per row in groups of query heads: equal to that of transformers, and only while open."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from layerlimits.engines import _attention
from layerlimits.engines._attention import attention, grouped_attention

# Rows, query heads, groups, new tokens, columns, widths of keys and values.
SHAPES = [
    (3, 14, 2, 4, 9, 16, 16),
    (2, 9, 3, 2, 5, 8, 8),
    (2, 4, 1, 7, 7, 8, 4),
    (2, 6, 6, 3, 8, 8, 8),
    (1, 4, 2, 1, 6, 8, 8),
]


def _inputs(shape: tuple[int, ...], masks: int) -> tuple[Any, Tensor, Tensor, Tensor, Tensor]:
    rows, heads, groups, length, columns, width, value_width = shape
    torch.manual_seed(sum(shape))
    query, key = torch.randn(rows, heads, length, width), torch.randn(rows, groups, columns, width)
    value = torch.randn(rows, groups, columns, value_width)
    positions = torch.arange(columns - length, columns).expand(masks, -1) - torch.arange(masks)[:, None]
    forbidden = torch.arange(columns) > positions[..., None].clamp(min=0)
    mask = torch.zeros(forbidden.shape).masked_fill(forbidden, torch.finfo(torch.float32).min)[:, None]
    return SimpleNamespace(num_key_value_groups=heads // groups), query, key, value, mask


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shared", [False, True])
def test_equals_the_attention_of_transformers(shape: tuple[int, ...], shared: bool) -> None:
    module, query, key, value, mask = _inputs(shape, 1 if shared else shape[0])
    expected, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=0.3)
    actual, weights = attention(module, query, key, value, mask, scaling=0.3)
    assert weights is None
    assert actual.shape == expected.shape
    assert torch.allclose(actual, expected, atol=1e-6)


def test_keys_are_not_repeated_for_several_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    module, query, key, value, mask = _inputs(SHAPES[0], 3)
    seen: list[tuple[int, ...]] = []
    kernel = torch.nn.functional.scaled_dot_product_attention

    def recorded(query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        seen.append(tuple(key.shape))
        return kernel(query, key, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", recorded)
    attention(module, query, key, value, mask)
    assert seen == [tuple(key.shape)]


@pytest.mark.parametrize("mask", ["none", "by head"])
def test_other_cases_are_those_of_transformers(mask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A causal text without a mask, and a mask for each head."""
    module, query, key, value, shared = _inputs((2, 4, 2, 5, 5, 8, 8), 2)
    given = None if mask == "none" else shared.expand(-1, 4, -1, -1)
    calls: list[Tensor | None] = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args[4])
        return sdpa_attention_forward(*args, **kwargs)

    monkeypatch.setattr(_attention, "sdpa_attention_forward", counted)
    attention(module, query, key, value, given)
    assert len(calls) == 1


def _fail_inside() -> None:
    with grouped_attention():
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is attention
        raise ZeroDivisionError


def test_other_models_keep_their_attention() -> None:
    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    with pytest.raises(ZeroDivisionError):
        _fail_inside()
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is before
