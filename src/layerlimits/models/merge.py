"""Merging layers: adds the differences between other layers and a layer to that layer."""

from collections.abc import Sequence

import torch
from torch import nn

from layerlimits.errors import UserError


@torch.no_grad()
def merge(layers: nn.ModuleList, into: int, absorbed: Sequence[int]) -> None:
    """theta_l <- theta_l + sum over k of (theta_k - theta_l), for every parameter of layer l = `into`, in place.

    theta are the current weights; sums are float64. The absorbed layers are not changed.

    Raises:
        UserError: the parameters of the layers differ in name or shape.
    Source: LaCo, arXiv 2402.11187
    """
    check_alike(layers, (into, *absorbed))
    others = [dict(layers[layer].named_parameters()) for layer in absorbed]
    for name, parameter in layers[into].named_parameters():
        own = parameter.double()
        parameter.copy_(own + sum((other[name].double() - own for other in others), torch.zeros_like(own)))


def check_alike(layers: nn.ModuleList, chosen: Sequence[int]) -> None:
    """Check that these layers have the same parameters.

    Raises:
        UserError: they differ; names two layers and the first parameter that differs.
    """
    first = _shapes(layers[chosen[0]])
    for layer in chosen[1:]:
        shapes = _shapes(layers[layer])
        differing = [name for name in first | shapes if first.get(name) != shapes.get(name)]
        if differing:
            name = differing[0]
            raise UserError(
                f"layers {chosen[0]} and {layer} cannot be merged, because their parameters differ: {name} is "
                f"{first.get(name, 'missing')} in the first and {shapes.get(name, 'missing')} in the second",
                "remove layers with the same parameters, or use another replacement",
            )


def _shapes(layer: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in layer.named_parameters()}
