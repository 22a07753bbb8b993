"""Resuming a forward pass from the middle, so that the layers before a removed one do not run again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from layerlimits.models.remove import without_layers
from layerlimits.models.stack import find_stack
from layerlimits.models.stream import Batch, watching


class Pass:
    """One forward pass of a model over a batch, which stores the stream between layers.

    Layers are numbered as in the current state of the model, after removals. `start` is the first layer that ran; the
    streams before it are unknown, so only layers from `start` on can be removed.
    """

    def __init__(self, model: PreTrainedModel, batch: Batch, start: int = 0) -> None:
        self.model, self.batch, self.start = model, batch, start
        self._streams: dict[int, Tensor] = {}
        self._last: Any = None
        layers = find_stack(model).layers
        handle = layers[-1].register_forward_hook(self._keep_last)
        try:
            with watching(model, self._streams.__setitem__):
                self.logits: Tensor = model(**batch.inputs).logits
        finally:
            handle.remove()

    @property
    def depth(self) -> int:
        """Number of layers of the model."""
        return len(self._streams) - 1

    def logits_without(self, layer: int) -> Tensor:
        """Logits (N, T, V) of the model without this layer; the layers before it are not run."""
        with without_layers(self.model, (layer,)), self._resumed(layer):
            logits: Tensor = self.model(**self.batch.inputs).logits
            return logits

    @contextmanager
    def without(self, layer: int) -> Iterator["Pass"]:
        """The pass of the model without this layer; later layers can be removed from it in turn."""
        with without_layers(self.model, (layer,)), self._resumed(layer):
            yield Pass(self.model, self.batch, layer)

    def _keep_last(self, _: nn.Module, __: Any, output: Any) -> None:
        self._last = output

    def _resumed(self, layer: int) -> Any:
        return resumed(self.model, layer, self._streams[layer], tupled=not isinstance(self._last, Tensor))


@contextmanager
def resumed(model: PreTrainedModel, layer: int, stream: Tensor, *, tupled: bool) -> Iterator[None]:
    """Inside the block, `stream` (N, T, D) enters `layer`, and the layers before it do nothing.

    The forward of the model itself runs, with its own masks, positions and head, on any architecture.

    Args:
        tupled: the layers return a tuple that starts with the stream, instead of the stream.
    """
    passed = list(find_stack(model).layers[:layer])
    before = [module.__dict__.get("forward") for module in passed]
    for number, module in enumerate(passed):
        module.forward = _pass_through(stream if number == layer - 1 else None, tupled)
    try:
        yield
    finally:
        for module, forward in zip(passed, before, strict=True):
            del module.forward
            if forward is not None:
                module.forward = forward


def _pass_through(stream: Tensor | None, tupled: bool) -> Any:
    """The forward of a layer that is not run: returns `stream`, or its own input."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        given = args[0] if args else kwargs["hidden_states"]
        passed = given if stream is None else stream
        return (passed, None) if tupled else passed

    return forward
