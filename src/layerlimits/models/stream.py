"""The residual stream between layers, read by hooks: `output_hidden_states` ends after the final norm."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from layerlimits.models.stack import find_stack


@torch.no_grad()
def residual_streams(
    model: PreTrainedModel, texts: Sequence[Sequence[int]], batch_size: int = 8
) -> Iterator[tuple[Tensor, Tensor]]:
    """The stream entering each layer and leaving the last, before the final norm, batch by batch.

    Yields:
        stream (L+1, N, T, D) in the model's type, and the mask of real tokens (N, T) bool.
    """
    layers = find_stack(model).layers
    for start in range(0, len(texts), batch_size):
        ids, mask = _pad(texts[start : start + batch_size], model.device)
        seen: list[Tensor] = []
        handles = [layer.register_forward_pre_hook(_entering(seen), with_kwargs=True) for layer in layers]
        handles.append(layers[-1].register_forward_hook(_leaving(seen)))
        try:
            model(input_ids=ids, attention_mask=mask.long(), use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        yield torch.stack(seen), mask


def _entering(seen: list[Tensor]) -> Any:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append(args[0] if args else kwargs["hidden_states"])

    return hook


def _leaving(seen: list[Tensor]) -> Any:
    def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        seen.append(output if isinstance(output, Tensor) else output[0])

    return hook


def _pad(texts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Right-padded ids (N, T) and the mask of real tokens (N, T)."""
    width = max(map(len, texts))
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=device)
    lengths = torch.tensor([len(text) for text in texts], device=device)
    return ids, torch.arange(width, device=device)[None] < lengths[:, None]
