"""Compensates for the missing growth of the residual stream by scaling the outputs of later layers."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.probe import Call, observe, short_text, twin
from layerlimits.models.stack import find_stack
from layerlimits.models.stream import Batch, first
from layerlimits.models.writers import Scale, divide, scales
from layerlimits.replacements import ReplacementContext

# A layer that reads the stream without a norm is detected by scaling the stream by _GROWTH: its output then changes by
# more than the fraction _READING. The epsilon of a norm has less effect unless the stream is as small as the epsilon;
# OLMo-2 changes by 3% and more.
_GROWTH, _READING = 4.0, 0.02
# Tolerated effect of epsilon on a layer's output after rescaling.
_TOLERANCE = 0.05


def compensate(context: ReplacementContext) -> dict[str, Any]:
    """Divide the outputs of later layers by the growth of the residual stream over the gaps before them.

    r_g = mean |h_after| / mean |h_before|,    write_l <- write_l / product of r_g over the gaps g before layer l

    h_before and h_after (tokens, D) enter and leave gap g in the unpruned model; means run over the real tokens of all
    texts, in float64. The stream after a gap is too small by the factor r_g. Since layers read it through a norm, which
    is invariant to scale, dividing their outputs by r_g is equivalent to scaling the stream, and the embeddings stay
    unchanged. The divided weights are output projections with their biases, or the gain of a norm between them and the
    stream. A gap at the end of the stack has no later layer, so nothing is divided.

    Raises:
        UserError: A later layer or the head reads the stream without a norm, or a layer's output weights are not
            recognized.
    Source: Prune&Comp, arXiv 2507.18212
    Cost: one forward pass over the calibration text
    """
    model = context.model
    ratios = _ratios(context)
    factors = _factors(context, ratios)
    probe = short_text(model, context.texts)
    if factors:
        calls = observe(model, probe, factors)
        chosen = {layer: _checked_scales(model, layer, calls[layer], factor) for layer, factor in factors.items()}
        _check_head(model, probe)
        for layer, factor in factors.items():
            divide(find_stack(model).layers[layer], chosen[layer], factor)
    return {
        "gaps": [{"gap": list(gap), "ratio": ratio} for gap, ratio in zip(context.gaps, ratios, strict=True)],
        "divided": [[layer, factor] for layer, factor in factors.items()],
    }


def _ratios(context: ReplacementContext) -> list[float]:
    places = sorted({place for first, last in context.gaps for place in (first, last + 1)})
    norms = dict.fromkeys(places, 0.0)
    for batch in context.batches():
        for place, call in observe(context.model, batch, places).items():
            norms[place] += float(call.stream[batch.mask].double().norm(dim=-1).sum())
        context.on_progress(context.share(batch))
    ratios = [norms[last + 1] / norms[first] if norms[first] else math.nan for first, last in context.gaps]
    for gap, ratio in zip(context.gaps, ratios, strict=True):
        if not (math.isfinite(ratio) and ratio > 0):
            raise UserError(
                f"the growth of the stream over layers {gap[0]} to {gap[1]} is {ratio}",
                "use float32 or different calibration text",
            )
    return ratios


def _factors(context: ReplacementContext, ratios: list[float]) -> dict[int, float]:
    """For every remaining layer after a gap, the product of the ratios of the gaps before it."""
    factors = {}
    for layer in range(len(find_stack(context.model))):
        before = [ratio for (_, last), ratio in zip(context.gaps, ratios, strict=True) if last < layer]
        if before and layer not in context.removed:
            factors[layer] = math.prod(before)
    return factors


@torch.no_grad()
def _checked_scales(model: PreTrainedModel, number: int, call: Call, factor: float) -> list[Scale]:
    """The weights to divide in a layer, after checking that dividing them and the stream by f divides the output by f.

    Raises:
        UserError: The check fails; the message gives the reason.
    """
    layer = twin(find_stack(model).layers[number])
    chosen = scales(layer, call)
    stream, whole = call.stream.float(), call.run(layer)
    write = float((whole - stream).norm())
    for tried, allowed in ((1 / _GROWTH, _READING), (factor, _TOLERANCE)):
        change = float((call.run(_divided(layer, chosen, tried), stream / tried) * tried - whole).norm())
        if not change <= allowed * write:
            zeroed = call.run(_divided(layer, chosen, math.inf))
            names = ", ".join(scale.parameter for scale in chosen)
            why = (
                f"it still changes the stream when {names} are zero"
                if float((zeroed - stream).norm()) > _TOLERANCE * write
                else f"it reads the stream without a norm (scaling the stream by {1 / tried:.3g} changes its output "
                f"by {change / write:.0%})"
            )
            raise _unsupported(f"layer {number} of {type(model).__name__} cannot be rescaled: {why}")
    return chosen


def _divided(layer: nn.Module, chosen: list[Scale], factor: float) -> nn.Module:
    changed = copy.deepcopy(layer)
    divide(changed, chosen, factor)
    return changed


@torch.no_grad()
def _check_head(model: PreTrainedModel, probe: Batch) -> None:
    """Check that the head reads the stream through a norm: scaling the stream must not change the logits."""

    def grow(_: nn.Module, __: Any, output: Any) -> Any:
        larger = first(output) * _GROWTH
        return larger if isinstance(output, Tensor) else (larger, *output[1:])

    base = model(**probe.inputs).logits.float()
    handle = find_stack(model).layers[-1].register_forward_hook(grow)
    try:
        change = (model(**probe.inputs).logits.float() - base).norm() / base.norm()
    finally:
        handle.remove()
    if not change <= _READING:
        raise _unsupported(f"the head of {type(model).__name__} reads the stream without a norm")


def _unsupported(why: str) -> UserError:
    return UserError(why, "use a different replacement for this architecture")
