"""One model whose rows belong to different variants: each layer computes only the rows that have it.

While `Rows` is open, the `forward` of every layer is replaced by one that selects the rows that have the layer, passes
them to the layer with a mask and a cache for these rows only, and writes the results back. Positions are columns of the
cache: the key of position t is in column t for every row, and a query at position t attends to the columns up to t.
Rows of any length therefore share a batch without padding on the left, and keys left by a rejected draft are masked
until they are overwritten.

The logits of a pass can take more memory than everything else, because the vocabulary is large. They are computed in
slices: the module that owns the layers returns the states of one slice at a time, and the model computes logits from it
in its own way.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicLayer

from layerlimits.engines._attention import grouped_attention
from layerlimits.engines._pool import Pool
from layerlimits.models.stack import find_stack

# Logits that are in memory at the same time: 64 megabytes in float32. A slice of some hundred rows still uses the
# hardware well.
_SLICE_LOGITS = 1 << 24


@dataclass
class Call:
    """The state of one forward pass, which all layers read.

    Args:
        pool: the rows.
        positions: positions of their tokens (R, Q), or (1, Q) if texts are read from their start.
        visible: number of columns of the cache that can be attended to.
        wanted: (rows, indices into the hidden states) of the logits to compute.
        attended: which columns each column attends to, bool (N, Q, T) for the N leaders, if texts are trees.
    """

    pool: Pool
    positions: Tensor
    visible: int
    wanted: tuple[Tensor, Tensor]
    attended: Tensor | None = None
    # What the owner of the layers returned, its states where logits are wanted (W, D), and the slice to continue with.
    output: Any = None
    states: Tensor | None = None
    part: slice = field(default_factory=lambda: slice(0))
    # The mask of all rows for each window, and what the last layers have selected of the values that all layers share.
    masks: dict["_Window | None", Tensor | None] = field(default_factory=dict)
    _picked: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _picked_rows: Tensor | None = None

    def queries(self, layer: int) -> Tensor:
        """Positions of the layer's rows, (n, Q) or (1, Q)."""
        picked: Tensor = self.pick(layer, self.positions)
        return picked

    def pick(self, layer: int, value: Any) -> Any:
        """The layer's rows of a value with one entry per row, such as rotations, positions and masks."""
        if isinstance(value, tuple):
            return tuple(self.pick(layer, part) for part in value)
        if not (isinstance(value, Tensor) and value.dim() > 1 and value.shape[0] == self.pool.size > 1):
            return value
        rows = self.pool.rows(layer)
        if isinstance(rows, slice):
            return value[rows]
        if rows is not self._picked_rows:
            self._picked, self._picked_rows = {}, rows
        # The value is kept with its selection, so that its id stays its own.
        if id(value) not in self._picked:
            self._picked[id(value)] = value, value.index_select(0, rows)
        return self._picked[id(value)][1]


class _CallCache(Cache):
    """The cache that attention modules are given; layers are numbered as in the base model."""

    def __init__(self, depth: int, call: Call) -> None:
        super().__init__(layers=[DynamicLayer() for _ in range(depth)])
        self._call = call

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if self._call.attended is not None:
            # A tree is read whole, so its keys are not stored.
            return self._call.pool.following(layer_idx, key_states, value_states)
        positions = self._call.queries(layer_idx)
        return self._call.pool.write(layer_idx, positions, self._call.visible, key_states, value_states)


class Rows:
    """A model opened for forward passes in which each row skips its own layers."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model: Any = model
        stack = find_stack(model)
        self.layers, self._owner = stack.layers, stack.owner
        self.device = model.device
        self._call: Call | None = None
        self._windows = [_window_of(model.config.get_text_config(), number) for number in range(len(self.layers))]
        self._eager = getattr(model.config, "_attn_implementation", "") == "eager"
        # Rows of logits in a slice.
        self._slice = max(1, _SLICE_LOGITS // model.config.get_text_config().vocab_size)
        # Whether layers return a tuple; known after the first one has run.
        self._tuples = False

    @contextmanager
    def opened(self) -> Iterator["Rows"]:
        """Inside the block, the `forward` of the layers and of the module that owns them is replaced."""
        try:
            self._owner.forward = self._in_slices(self._owner.forward)
            for number, layer in enumerate(self.layers):
                layer.forward = self._replaced(number, layer.forward)
            with grouped_attention():
                yield self
        finally:
            for module in (self._owner, *self.layers):
                vars(module).pop("forward", None)

    @torch.no_grad()
    def logits(
        self,
        pool: Pool,
        ids: Tensor,
        positions: Tensor,
        visible: int,
        wanted: tuple[Tensor, Tensor],
        attended: Tensor | None = None,
    ) -> Iterator[tuple[slice, Tensor]]:
        """Run tokens through the rows of a pool, which stores their keys and values.

        Args:
            pool: the R rows.
            ids: token ids (R, Q).
            positions: their positions (R, Q), or (1, Q) if texts are read from their start.
            visible: number of columns of the cache that can be attended to.
            wanted: rows and indices into `ids` of the logits to compute, (W,) each.
            attended: if texts are trees, which columns each column attends to, the stored ones first, bool (N, Q, T)
                for the N leaders. Keys and values are not stored then.
        Yields:
            Slices of `wanted` and their logits (w, V).
        """
        ends, places = pool.end[wanted[0]].to(self.device), wanted[1].to(self.device)
        pool.filled = max(pool.filled, visible if attended is None else 0)
        call = Call(pool, positions, visible, (ends, places), attended)
        for start in range(0, max(1, len(places)), self._slice):
            call.part = slice(start, min(start + self._slice, len(places)))
            yield call.part, self._logits(ids, call)

    def _logits(self, ids: Tensor, call: Call) -> Tensor:
        self._call = call
        try:
            output = self.model(
                input_ids=ids,
                # A mask of four dimensions is passed on unchanged: no time is spent on masks that no layer uses.
                attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=ids.device),
                position_ids=call.positions,
                past_key_values=_CallCache(len(self.layers), call),
                use_cache=True,
            )
        finally:
            self._call = None
        logits: Tensor = output.logits[0]
        return logits

    def _in_slices(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        """The `forward` of the module that owns the layers, which runs once and returns its states slice by slice."""

        def owner(*args: Any, **kwargs: Any) -> Any:
            call = self._call
            assert call is not None
            if call.states is None:
                call.output = forward(*args, **kwargs)
                rows, places = call.wanted
                call.states = call.output.last_hidden_state[rows, places]
            call.output.last_hidden_state = call.states[call.part][None]
            return call.output

        return owner

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

            given = {**dict(zip(names, args, strict=False)), **kwargs}
            arguments = {name: call.pick(number, value) for name, value in given.items()}
            arguments["attention_mask"] = call.pick(number, self._mask(number, call, hidden.dtype))
            output = forward(hidden[rows], **arguments)
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
        """The mask of all rows for the window of a layer, computed once per call."""
        window = self._windows[number]
        if window not in call.masks:
            call.masks[window] = self._new_mask(window, call, dtype)
        return call.masks[window]

    def _new_mask(self, window: "_Window | None", call: Call, dtype: torch.dtype) -> Tensor | None:
        """Added to the attention scores, (R or 1, 1, Q, T): causal, and limited to a window."""
        forbidden = self._outside_columns(window, call) if call.attended is None else _outside_trees(window, call)
        if forbidden is None:
            return None
        mask = torch.zeros(forbidden.shape, dtype=dtype, device=forbidden.device)
        return mask.masked_fill_(forbidden, torch.finfo(dtype).min)[:, None]

    def _outside_columns(self, window: "_Window | None", call: Call) -> Tensor | None:
        """What a query must not attend to, (R or 1, Q, T); None if no mask is needed."""
        positions = call.positions
        length = positions.shape[1]
        whole = positions.shape[0] == 1 and length == call.visible
        if whole and length > 1 and not self._eager and (window is None or window.size >= length):
            # All tokens of a text at once: attention is causal without a mask.
            return None
        columns = torch.arange(call.visible, device=positions.device)
        forbidden = columns > positions[..., None]
        if window is not None:
            forbidden |= ~window.contains(positions[..., None], columns)
        return forbidden


def _outside_trees(window: "_Window | None", call: Call) -> Tensor:
    """What a column of a tree must not attend to, (R or 1, Q, T). Rows of the same tree have the same mask."""
    assert call.attended is not None
    allowed = call.attended
    if window is not None:
        positions = call.positions[: len(allowed)]
        before = torch.arange(call.pool.filled, device=positions.device).expand(len(positions), -1)
        columns = torch.cat([before, positions], dim=1)
        allowed = allowed & window.contains(positions[..., None], columns[:, None])
    return ~(allowed if len(allowed) == 1 else allowed[call.pool.leader.to(allowed.device)])


@dataclass(frozen=True)
class _Window:
    """The positions a layer attends to: the last `size`, or those in the same chunk of `size` positions."""

    size: int
    chunked: bool = False

    def contains(self, query: Tensor, column: Tensor) -> Tensor:
        if self.chunked:
            return query // self.size == column // self.size
        return query - column < self.size


def _window_of(config: Any, number: int) -> _Window | None:
    """The window of a layer, or None for full attention. The trial in `_trial.py` catches architectures this misses."""
    kinds = getattr(config, "layer_types", None)
    window, chunk = getattr(config, "sliding_window", None), getattr(config, "attention_chunk_size", None)
    if kinds is None:
        return _Window(window) if window else None
    if kinds[number] == "sliding_attention" and window:
        return _Window(window)
    return _Window(chunk, chunked=True) if kinds[number] == "chunked_attention" and chunk else None
