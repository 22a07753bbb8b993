"""The weights of each layer that taylor and magnitude sum over."""

from collections.abc import Sequence

from torch import nn

from layerlimits.methods import Context
from layerlimits.models.stack import find_stack

# Shortened LLaMA's "+" rule keeps the first four and the last two layers.
_PLUS_FIRST, _PLUS_LAST = 4, 2


def layer_weights(context: Context, *, norms: bool) -> list[list[nn.Parameter]]:
    """The weight matrices of every layer, including expert tensors and convolutions but no biases.

    Args:
        norms: Include the gains of norms.
    """
    layers = find_stack(context.model).layers
    return [_weights(layer, norms) for layer in layers]


def _weights(layer: nn.Module, norms: bool) -> list[nn.Parameter]:
    gains = {
        id(module.weight)
        for module in layer.modules()
        if "norm" in type(module).__name__.lower() and isinstance(getattr(module, "weight", None), nn.Parameter)
    }
    return [weight for weight in layer.parameters() if weight.ndim >= 2 or (norms and id(weight) in gains)]


def plus_rule(context: Context, *, plus: bool) -> Sequence[int]:
    """The protected layers, including those of the "+" rule if `plus` is set."""
    depth = context.depth
    kept_by_rule = {*range(min(_PLUS_FIRST, depth)), *range(max(0, depth - _PLUS_LAST), depth)} if plus else set()
    return sorted(kept_by_rule | set(context.protected or ()))
