"""Merging layers into one, as the LaCo paper writes it or as its code computes it."""

from collections.abc import Sequence
from typing import cast, get_args

import torch
from torch import nn

from layerlimits.errors import UserError
from layerlimits.types import MergeForm


def checked_form(form: str) -> MergeForm:
    """The form of a merge.

    Raises:
        UserError: There is no such form.
    """
    if form not in get_args(MergeForm):
        raise UserError(f"laco: unknown form {form!r}", f"use form={' or form='.join(get_args(MergeForm))}")
    return cast(MergeForm, form)


@torch.no_grad()
def merge(layers: nn.ModuleList, into: int, absorbed: Sequence[int], form: MergeForm = "paper") -> None:
    """Merge layers into layer l = `into`, in place. The absorbed layers are not changed.

    - "paper": theta_l <- theta_l + sum over k of (theta_k - theta_l), for every parameter; sums are float64.
    - "code": W_l <- W_m for every weight matrix, where m is the last absorbed layer; other parameters stay. The code of
      the authors adds W_k - W_l for one layer after another to the matrix that it has just changed: the last remains.

    theta and W are the current weights.

    Raises:
        UserError: the parameters of the layers differ in name or shape.
    Source: LaCo, arXiv 2402.11187
    """
    check_alike(layers, (into, *absorbed))
    if form == "code":
        last = dict(layers[absorbed[-1]].named_parameters())
        for name, parameter in layers[into].named_parameters():
            if parameter.dim() > 1:
                parameter.copy_(last[name])
        return
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
