"""One layer run on its own, as the model runs it: on another stream, with other weights, in float32."""

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
    """What a model gave one of its layers: the stream (N, T, D), and the masks, positions and the rest."""

    stream: Tensor
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] | None = None

    def run(self, layer: nn.Module, stream: Tensor | None = None) -> Tensor:
        """What a float32 layer makes of this call, or of another stream in it: (N, T, D) float32."""
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


class _Seen(Exception):  # noqa: N818  # no error: the rest of the pass is not needed
    """All that was asked for has been seen."""


@torch.no_grad()
def observe(model: PreTrainedModel, batch: Batch, places: Iterable[int]) -> dict[int, Call]:
    """The calls of these layers in one pass over the batch; place L, after the last of L layers, has only a stream.

    The stream at L is the one before the final norm. What comes after the last place is not run.
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
    """A batch to try a layer on: the beginning of the longest text.

    Raises:
        UserError: the texts are empty.
    """
    if not any(texts):
        raise UserError(f"{len(texts)} calibration texts hold no token", "give calibration text that is not empty")
    longest = max(texts, key=len)[:_PROBE_TOKENS]
    return next(iter(batches(model, [longest])))


def twin(layer: nn.Module) -> nn.Module:
    """A float32 copy of a layer to try things on."""
    return copy.deepcopy(layer).float().eval()


@contextmanager
def scaled(layer: nn.Module, parameters: Iterable[str], factor: float) -> Iterator[None]:
    """Within the block these parameters of the layer are `factor` times what they are."""
    chosen = [layer.get_parameter(name) for name in parameters]
    before = [parameter.data for parameter in chosen]
    try:
        for parameter in chosen:
            parameter.data = parameter.data * factor
        yield
    finally:
        for parameter, data in zip(chosen, before, strict=True):
            parameter.data = data
