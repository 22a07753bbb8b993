"""Reading the residual stream between layers with hooks, since `output_hidden_states` ends after the final norm."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from layerlimits.models.stack import find_stack
from layerlimits.models.vocabulary import check_tokens

# Positions per batch: on a CPU few enough to stay in its caches, on a GPU enough to fill it (LOG.md, "ranking").
_BATCH_TOKENS = {"cpu": 1024}
_BATCH_TOKENS_ELSEWHERE = 8192
# A text that fills less than this share of its row waits for a batch of shorter texts.
_PADDED = 0.9
# Logits are the largest tensor of a forward pass: at most this many floats, half a gigabyte.
_BATCH_LOGITS = 1 << 27


@dataclass(frozen=True)
class Batch:
    """Texts padded on the right.

    Args:
        rows: indices of the texts in this batch.
        ids: token ids (N, T).
        mask: True at real tokens (N, T).
    """

    rows: tuple[int, ...]
    ids: Tensor
    mask: Tensor

    @property
    def inputs(self) -> dict[str, Any]:
        """The arguments of the model."""
        return {"input_ids": self.ids, "attention_mask": self.mask.long(), "use_cache": False}


def batches(model: PreTrainedModel, texts: Sequence[Sequence[int]], tokens: int | None = None) -> Iterator[Batch]:
    """Texts in batches of similar length and about `tokens` positions, longest first; empty texts are omitted.

    Raises:
        UserError: the model has no embedding for a token.
    """
    check_tokens(model, texts)
    usual = _BATCH_TOKENS.get(model.device.type, _BATCH_TOKENS_ELSEWHERE)
    max_tokens = max(1, min(tokens or usual, _BATCH_LOGITS // model.config.vocab_size))
    waiting = sorted((row for row in range(len(texts)) if texts[row]), key=lambda row: (-len(texts[row]), row))
    while waiting:
        size = _rows([len(texts[row]) for row in waiting], max_tokens)
        rows, waiting = tuple(waiting[:size]), waiting[size:]
        ids, mask = _pad([texts[row] for row in rows], model.device)
        yield Batch(rows, ids, mask)


def _rows(lengths: Sequence[int], max_tokens: int) -> int:
    """Number of texts, longest first, in the next batch of up to `max_tokens` positions. Much shorter texts wait for
    another batch once this one is large enough to be worth its fixed costs.
    """
    width = lengths[0]
    for rows, length in enumerate(lengths):
        full = width * (rows + 1) > max_tokens
        wasteful = length < _PADDED * width and width * rows >= max_tokens / 4
        if rows and (full or wasteful):
            return rows
    return len(lengths)


def _pad(texts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    width = max(map(len, texts))
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=device)
    lengths = torch.tensor([len(text) for text in texts], device=device)
    return ids, torch.arange(width, device=device)[None] < lengths[:, None]


@contextmanager
def watching(model: PreTrainedModel, see: Callable[[int, Tensor], None]) -> Iterator[None]:
    """Inside the block, `see(l, h_l)` is called with the stream that enters each layer l of L, and with l = L for the
    output of the last layer, before the final norm: (N, T, D) in the number type of the model.
    """
    layers = find_stack(model).layers
    handles = [
        layer.register_forward_pre_hook(_entering(see, number), with_kwargs=True) for number, layer in enumerate(layers)
    ]
    handles.append(layers[-1].register_forward_hook(_leaving(see, len(layers))))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _entering(see: Callable[[int, Tensor], None], number: int) -> Any:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        see(number, args[0] if args else kwargs["hidden_states"])

    return hook


def _leaving(see: Callable[[int, Tensor], None], number: int) -> Any:
    def hook(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        see(number, first(output))

    return hook


def first(output: Any) -> Tensor:
    """The stream in the output of a layer, which is a tensor or a tuple that starts with it."""
    stream = output if isinstance(output, Tensor) else output[0]
    assert isinstance(stream, Tensor)
    return stream
