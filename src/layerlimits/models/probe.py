"""Running a single layer as the model runs it, on another stream or with other weights, in float32."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.stack import find_stack
from layerlimits.models.stream import Batch, batches, first

_PROBE_TOKENS = 64


@dataclass(frozen=True)
class Call:
    """The arguments with which a model called a layer: the stream (N, T, D), masks, positions and others."""

    stream: Tensor
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None

    def run(self, layer: nn.Module, stream: Tensor | None = None) -> Tensor:
        """The output of a float32 layer for this call, or for another stream in it, (N, T, D) float32."""
        given = self.stream if stream is None else stream
        return first(layer(given.float(), *_float(self.args), **_float(self.kwargs or {})))


def _float(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, tuple | list):
        return tuple(_float(entry) for entry in value)
    if isinstance(value, dict):
        return {name: _float(entry) for name, entry in value.items()}
    return value


class _Seen(Exception):  # noqa: N818  # not an error: ends the forward pass early
    """All requested calls have been recorded."""


@torch.no_grad()
def observe(model: PreTrainedModel, batch: Batch, places: Iterable[int]) -> dict[int, Call]:
    """Record the calls of these layers in one forward pass. Place L, after the last of L layers, has only a stream.

    The stream at place L is the one before the final norm. The pass ends at the last place.
    """
    layers = find_stack(model).layers
    wanted = sorted(set(places))
    seen: dict[int, Call] = {}

    def keep(place: int, call: Call) -> None:
        seen[place] = call
        if place == wanted[-1]:
            raise _Seen

    def entering(place: int) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            rest = dict(kwargs)
            keep(place, Call(args[0], args[1:], rest) if args else Call(rest.pop("hidden_states"), (), rest))

        return hook

    handles = [layers[place].register_forward_pre_hook(entering(place), with_kwargs=True) for place in wanted[:-1]]
    if wanted[-1] < len(layers):
        handles.append(layers[wanted[-1]].register_forward_pre_hook(entering(wanted[-1]), with_kwargs=True))
    else:
        leaving: Any = lambda _, __, output: keep(len(layers), Call(first(output)))  # noqa: E731  # no def: with a type of its own
        handles.append(layers[-1].register_forward_hook(leaving))
    try:
        model(**batch.inputs)
    except _Seen:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return seen


def short_text(model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> Batch:
    """A batch to test a layer with: the beginning of the longest text.

    Raises:
        UserError: all texts are empty.
    """
    if not any(texts):
        raise UserError(
            f"the calibration text contains no token (items: {len(texts)})", "use non-empty calibration text"
        )
    longest = max(texts, key=len)[:_PROBE_TOKENS]
    return next(iter(batches(model, [longest])))


def twin(layer: nn.Module) -> nn.Module:
    """A float32 copy of a layer."""
    return copy.deepcopy(layer).float().eval()


@contextmanager
def scaled(layer: nn.Module, parameters: Iterable[str], factor: float) -> Iterator[None]:
    """Inside the block, these parameters of the layer are multiplied by `factor`."""
    chosen = [layer.get_parameter(name) for name in parameters]
    before = [parameter.data for parameter in chosen]
    try:
        for parameter in chosen:
            parameter.data = parameter.data * factor
        yield
    finally:
        for parameter, data in zip(chosen, before, strict=True):
            parameter.data = data
