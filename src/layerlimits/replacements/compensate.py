"""The stream's growth over the gap, made up for in what later layers write."""

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

# A stream this much larger shows a layer that reads it without a norm: its write changes by more than this share.
# The epsilon of norms does less, unless the stream is as small as itself; OLMo-2 does 3% and more.
_GROWTH, _READING = 4.0, 0.02
# What epsilon may do to a layer's write once it is rescaled.
_TOLERANCE = 0.05


def compensate(context: ReplacementContext) -> dict[str, Any]:
    """Divide what later layers write by the stream's growth over the gaps before them.

    r_g = mean |h_after| / mean |h_before|,    write_l <- write_l / product of r_g over the gaps g before layer l

    h_before and h_after (tokens, D) enter and leave gap g in the unpruned model, means over the real tokens of all
    texts in float64. The stream after a gap is r_g times too small; layers read it through a norm, which does not
    mind, so making their writes as much smaller equals scaling the stream, and leaves the embeddings as they are.
    Divided are output projections with their biases, or the gain of a norm that stands between them and the stream.
    After a gap at the very end nothing writes, and nothing is divided.

    Raises:
        UserError: a later layer, or the head, that reads the stream without a norm, or that writes by ways unknown.
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
                f"the stream's growth over layers {gap[0]} to {gap[1]} is {ratio}",
                "use float32, or other calibration text",
            )
    return ratios


def _factors(context: ReplacementContext, ratios: list[float]) -> dict[int, float]:
    """For every kept layer after a gap, the product of the ratios of the gaps before it."""
    factors = {}
    for layer in range(len(find_stack(context.model))):
        before = [ratio for (_, last), ratio in zip(context.gaps, ratios, strict=True) if last < layer]
        if before and layer not in context.removed:
            factors[layer] = math.prod(before)
    return factors


@torch.no_grad()
def _checked_scales(model: PreTrainedModel, number: int, call: Call, factor: float) -> list[Scale]:
    """What to divide in a layer, known to do what is claimed: from a stream / f it makes what it made / f.

    Raises:
        UserError: it does not, and why.
    """
    layer = twin(find_stack(model).layers[number])
    chosen = scales(layer, call)
    stream, whole = call.stream.float(), call.run(layer)
    write = float((whole - stream).norm())
    for tried, allowed in ((1 / _GROWTH, _READING), (factor, _TOLERANCE)):
        change = float((call.run(_divided(layer, chosen, tried), stream / tried) * tried - whole).norm())
        if not change <= allowed * write:
            silent = call.run(_divided(layer, chosen, math.inf))
            names = ", ".join(scale.parameter for scale in chosen)
            why = (
                f"with {names} at zero it still changes the stream"
                if float((silent - stream).norm()) > _TOLERANCE * write
                else f"it reads the stream without a norm (on {1 / tried:.3g} times the stream, what it writes changes "
                f"by {change / write:.0%})"
            )
            raise _unsound(f"layer {number} of {type(model).__name__} cannot be rescaled: {why}")
    return chosen


def _divided(layer: nn.Module, chosen: list[Scale], factor: float) -> nn.Module:
    changed = copy.deepcopy(layer)
    divide(changed, chosen, factor)
    return changed


@torch.no_grad()
def _check_head(model: PreTrainedModel, probe: Batch) -> None:
    """Stop unless the head reads the stream through a norm: a larger stream must not change the logits."""

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
        raise _unsound(f"the head of {type(model).__name__} reads the stream without a norm")


def _unsound(why: str) -> UserError:
    return UserError(why, "use another replacement for this architecture")
