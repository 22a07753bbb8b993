"""Going on from the middle of a forward pass: the layers before a removed one need not run again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from layerlimits.models.remove import without_layers
from layerlimits.models.stack import find_stack
from layerlimits.models.stream import Batch, watching


class Pass:
    """One forward pass of a model over a batch, which keeps the stream between layers.

    Layers count in the model as it is now: a view of fewer layers counts its own. `start` is the first that ran; the
    streams before it are not known, so only layers from there on can be taken out.
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
        """Layers of the model as it ran."""
        return len(self._streams) - 1

    def logits_without(self, layer: int) -> Tensor:
        """Logits (N, T, V) of the model without this layer; those before it are not run."""
        with without_layers(self.model, (layer,)), self._resumed(layer):
            logits: Tensor = self.model(**self.batch.inputs).logits
            return logits

    @contextmanager
    def without(self, layer: int) -> Iterator["Pass"]:
        """The pass of the model without this layer, from which others can be taken too: those from its place on."""
        with without_layers(self.model, (layer,)), self._resumed(layer):
            yield Pass(self.model, self.batch, layer)

    def _keep_last(self, _: nn.Module, __: Any, output: Any) -> None:
        self._last = output

    def _resumed(self, layer: int) -> Any:
        return resumed(self.model, layer, self._streams[layer], tupled=not isinstance(self._last, Tensor))


@contextmanager
def resumed(model: PreTrainedModel, layer: int, stream: Tensor, *, tupled: bool) -> Iterator[None]:
    """Within the block `stream` (N, T, D) enters `layer` whatever the model reads, and the layers before it do nothing.

    The model's own forward runs: masks, positions and the head are its own, on any architecture.

    Args:
        tupled: its layers return the stream first in a tuple, not alone.
    """
    passed = list(find_stack(model).layers[:layer])
    before = [one.__dict__.get("forward") for one in passed]
    for number, one in enumerate(passed):
        one.forward = _handing_on(stream if number == layer - 1 else None, tupled)
    try:
        yield
    finally:
        for one, forward in zip(passed, before, strict=True):
            del one.forward
            if forward is not None:
                one.forward = forward


def _handing_on(stream: Tensor | None, tupled: bool) -> Any:
    """The forward of a layer that is not run: returns `stream`, or what it is given."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        given = args[0] if args else kwargs["hidden_states"]
        passed = given if stream is None else stream
        return (passed, None) if tupled else passed

    return forward
