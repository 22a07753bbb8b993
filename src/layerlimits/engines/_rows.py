"""One model whose rows belong to different variants: a layer computes only the rows that keep it.

While `Rows` is open, every layer's `forward` is replaced by one that picks the rows that keep the layer, hands them to
the layer with a mask and a cache of these rows alone, and puts the results back. Positions are columns of the cache:
the key of position t stands in column t whatever the row, and a query at position t sees the columns up to t. So rows
of any length share a batch without padding on the left, and what a rejected draft left behind is never seen and
overwritten.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

from layerlimits.engines._pool import Pool
from layerlimits.models.stack import find_stack


@dataclass
class Call:
    """What one forward pass means to the layers.

    Args:
        pool: the rows.
        at: positions of their tokens (R, Q), or (1, Q) where texts are read from their start.
        seen: how many columns of the cache there are to see.
        wanted: (rows, places in the hidden states) of the logits to return.
    """

    pool: Pool
    at: Tensor
    seen: int
    wanted: tuple[Tensor, Tensor]

    def queries(self, layer: int) -> Tensor:
        """Positions of the layer's rows, (n, Q) or (1, Q)."""
        mine = self.pool.rows(layer)
        return self.at if self.at.shape[0] == 1 else self.at[mine]


class _CallCache(Cache):
    """What attention modules see as the cache; layers are numbered as in the base model."""

    def __init__(self, depth: int, call: Call) -> None:
        super().__init__(layers=[DynamicLayer() for _ in range(depth)])
        self._call = call

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        at = self._call.queries(layer_idx)
        return self._call.pool.write(layer_idx, at, self._call.seen, key_states, value_states)


class Rows:
    """A model opened for calls whose rows skip layers of their own."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model: Any = model
        self.layers = find_stack(model).layers
        self.device = model.device
        self._call: Call | None = None
        self._seen = [_seen_by(model.config.get_text_config(), number) for number in range(len(self.layers))]
        self._eager = getattr(model.config, "_attn_implementation", "") == "eager"
        # Whether a layer returns a tuple is known from its first answer.
        self._tuples = False

    @contextmanager
    def opened(self) -> Iterator["Rows"]:
        """The layers replaced, inside the block."""
        handle = self.model.get_output_embeddings().register_forward_pre_hook(self._only_wanted)
        try:
            for number, layer in enumerate(self.layers):
                layer.forward = self._replaced(number, layer.forward)
            yield self
        finally:
            handle.remove()
            for layer in self.layers:
                vars(layer).pop("forward", None)

    @torch.no_grad()
    def logits(self, pool: Pool, ids: Tensor, at: Tensor, seen: int, wanted: tuple[Tensor, Tensor]) -> Tensor:
        """Run tokens through the rows of a pool, which keeps their keys and values.

        Args:
            pool: the rows, R.
            ids: token ids (R, Q).
            at: their positions, or (1, Q) where texts are read from their start.
            seen: how many columns of the cache there are to see.
            wanted: rows and places in `ids` of the logits to return, (W,) both.
        Returns:
            Logits (W, V).
        """
        ends, places = pool.end[wanted[0]].to(self.device), wanted[1].to(self.device)
        pool.filled = max(pool.filled, seen)
        self._call = call = Call(pool, at, seen, (ends, places))
        try:
            found = self.model(
                input_ids=ids,
                # Four dimensions pass as they are, so that no model spends time on masks that no layer gets to see.
                attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=ids.device),
                position_ids=at,
                past_key_values=_CallCache(len(self.layers), call),
                use_cache=True,
            ).logits
        finally:
            self._call = None
        logits: Tensor = found[0]
        return logits

    def _only_wanted(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The vocabulary is large, and most positions are not asked for."""
        assert self._call is not None
        rows, places = self._call.wanted
        return (args[0][rows, places][None], *args[1:])

    def _replaced(self, number: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        names = [*inspect.signature(forward).parameters][1:]

        def layer(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            call = self._call
            assert call is not None
            hidden = call.pool.enter(number, hidden)
            rows = call.pool.rows(number)
            count = call.pool.count(number)
            if count == 0:
                return (hidden,) if self._tuples else hidden

            def pick(value: Any) -> Any:
                """The computed rows of whatever has a row for each: rotations, positions."""
                if isinstance(value, tuple):
                    return tuple(pick(one) for one in value)
                has_rows = isinstance(value, Tensor) and value.dim() > 1 and value.shape[0] == hidden.shape[0] > 1
                return value[rows] if has_rows else value

            told = {name: pick(value) for name, value in (*zip(names, args, strict=False), *kwargs.items())}
            told["attention_mask"] = self._mask(number, call, hidden.dtype)
            output = forward(hidden[rows], **told)
            self._tuples = isinstance(output, tuple)
            computed = output[0] if self._tuples else output
            if isinstance(rows, Tensor):
                computed = hidden.index_copy_(0, rows, computed)
            elif count < len(hidden):
                hidden[rows] = computed
                computed = hidden
            return (computed, *output[1:]) if self._tuples else computed

        return layer

    def _mask(self, number: int, call: Call, dtype: torch.dtype) -> Tensor | None:
        """Where the rows may look, (n or 1, 1, Q, T): up to their own positions, and not beyond a window."""
        queries, seen = call.queries(number), self._seen[number]
        length = queries.shape[1]
        whole = queries.shape[0] == 1 and length == call.seen
        if whole and length > 1 and not self._eager and (seen is None or seen.size >= length):
            # All tokens of a text at once: what attention does without a mask.
            return None
        columns = torch.arange(call.seen, device=queries.device)
        allowed = columns <= queries[..., None]
        if seen is not None:
            allowed &= seen.near(queries[..., None], columns)
        mask = allowed[:, None]
        if not self._eager:
            return mask
        return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)


@dataclass(frozen=True)
class _Seen:
    """How far back a layer looks: the last `size` positions, or its own chunk of so many."""

    size: int
    chunked: bool = False

    def near(self, query: Tensor, column: Tensor) -> Tensor:
        if self.chunked:
            return query // self.size == column // self.size
        return query - column < self.size


def _seen_by(config: Any, number: int) -> _Seen | None:
    """The window of a layer, None where it sees all. What this cannot know, the engine's check against stock finds."""
    kinds = getattr(config, "layer_types", None)
    window, chunk = getattr(config, "sliding_window", None), getattr(config, "attention_chunk_size", None)
    if kinds is None:
        return _Seen(window) if window else None
    if kinds[number] == "sliding_attention" and window:
        return _Seen(window)
    return _Seen(chunk, chunked=True) if kinds[number] == "chunked_attention" and chunk else None
