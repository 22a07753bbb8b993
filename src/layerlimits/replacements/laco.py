"""The removed layers' differences, added to the layer before them."""

from typing import Any

from layerlimits.errors import UserError
from layerlimits.models.merge import check_alike, merge
from layerlimits.models.stack import find_stack
from layerlimits.replacements import ReplacementContext


def laco(context: ReplacementContext) -> dict[str, Any]:
    """Merge the layers of each gap into the layer before it; where the method chose merges, those, in its order.

    theta_l <- theta_l + sum over k = 1..m of (theta_{l+k} - theta_l)

    theta is every parameter of a layer, norms and biases too; l the layer before the gap, m the gap's length.

    Raises:
        UserError: a gap at layer 0, layers of different form, or merges that are not of the removed layers.
    Source: LaCo, arXiv 2402.11187
    Cost: none but reading the weights
    """
    layers = find_stack(context.model).layers
    gaps = () if context.merges else context.gaps_after_a_layer("laco")
    merges = context.merges or tuple((first - 1, tuple(range(first, last + 1))) for first, last in gaps)
    absorbed = sorted(layer for _, group in merges for layer in group)
    if absorbed != list(context.removed):
        raise UserError(
            f"the merges absorb layers {absorbed}, and layers {list(context.removed)} are removed",
            "remove the layers that the method chose, all of them",
        )
    for into, group in merges:
        check_alike(layers, (into, *group))
    for into, group in merges:
        merge(layers, into, group)
        context.on_progress(1 / len(merges))
    return {"merges": [[into, list(group)] for into, group in merges]}
