"""Adds the weight differences of the removed layers to the layer before them."""

from typing import Any

from layerlimits.errors import UserError
from layerlimits.models.merge import check_alike, checked_form, merge
from layerlimits.models.stack import find_stack
from layerlimits.replacements import ReplacementContext


def laco(context: ReplacementContext, *, form: str = "paper") -> dict[str, Any]:
    """Merge the layers of each gap into the layer before it; merges chosen by the method are applied in its order.

    theta_l <- theta_l + sum over k = 1..m of (theta_{l+k} - theta_l)

    theta is every parameter of a layer, including norms and biases; l is the layer before the gap, and m the length of
    the gap.

    Args:
        form: "paper" for this formula; "code" for what the authors' code computes, whose sums leave the weight matrices
            of the last layer of the gap, W_l <- W_{l+m}, and change nothing else.
    Raises:
        UserError: `form` is unknown, a gap starts at layer 0, layers differ in shape, or the merges do not match the
            removed layers.
    Source: LaCo, arXiv 2402.11187
    Cost: reading the weights only
    """
    chosen = checked_form(form)
    layers = find_stack(context.model).layers
    gaps = () if context.merges else context.gaps_after_a_layer("laco")
    merges = context.merges or tuple((first - 1, tuple(range(first, last + 1))) for first, last in gaps)
    absorbed = sorted(layer for _, group in merges for layer in group)
    if absorbed != list(context.removed):
        raise UserError(
            f"the merges absorb layers {absorbed}, but the removed layers are {list(context.removed)}",
            "remove exactly the layers that the method chose",
        )
    for into, group in merges:
        check_alike(layers, (into, *group))
    for into, group in merges:
        merge(layers, into, group, chosen)
        context.on_progress(1 / len(merges))
    return {"form": form, "merges": [[into, list(group)] for into, group in merges]}
