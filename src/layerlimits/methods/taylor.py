"""First-order estimate of the change in loss if a layer's weights were set to zero."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.methods import Context, by_score
from layerlimits.methods._losses import restored, stored
from layerlimits.methods._weights import layer_weights, plus_rule
from layerlimits.models.losses import summed_loss
from layerlimits.models.stream import batches
from layerlimits.types import Ranking


def taylor(context: Context, *, norms: bool = True, plus: bool = False) -> Ranking:
    """First-order importance of each weight for the loss, summed over the layer; the smallest is removed first.

    S_l = sum over the weights W of layer l of sum |W * G|,  G = dL/dW

    L is the mean loss per predicted token of the calibration text, so gradients are summed over all texts before the
    absolute value is taken. Products and sums are computed in float64.

    Args:
        norms: Include the gains of norms, as the authors' code does.
        plus: Protect layers 0 to 3 and the last two layers.
    Raises:
        UserError: The model is quantized, there is no token to predict, or a score is not finite.
    Source: Shortened LLaMA, arXiv 2402.02834
    Cost: one forward and one backward pass over the calibration text; memory for the gradients of all layers
    """
    _check_gradients(context.model)
    with context.progress() as report:
        name = f"taylor scores, norms {norms}"
        scores = restored(context.cached(name, lambda: stored(_measure(context, norms, report))))
    return by_score("taylor", scores, plus_rule(context, plus=plus), context.calibration.hashes)


def passes(depth: int, rounds: int) -> float:
    """One forward pass, and one backward pass at twice the cost."""
    return 3.0


def _check_gradients(model: PreTrainedModel) -> None:
    integer_weights = [name for name, weight in model.named_parameters() if not weight.is_floating_point()]
    if getattr(model, "is_quantized", False) or integer_weights:
        name = integer_weights[0] if integer_weights else None
        kind = f"{name} is {model.get_parameter(name).dtype}" if name else "its weights are packed"
        raise UserError(
            f"taylor needs gradients, but the model is quantized: {kind}",
            "use the unquantized model, or the method perplexity",
        )


def _measure(context: Context, norms: bool, report: Callable[[float], None]) -> list[float]:
    weights = layer_weights(context, norms=norms)
    flat = [weight for layer in weights for weight in layer]
    needed = [weight.requires_grad for weight in flat]
    for weight in flat:
        weight.requires_grad_(True)
    try:
        gradients = iter(_gradients(context, flat, report))
    finally:
        for weight, before in zip(flat, needed, strict=True):
            weight.requires_grad_(before)
    tokens = sum(text.predicted for text in context.calibration.texts)
    return [sum(_product(weight, next(gradients)) for weight in layer) / tokens for layer in weights]


def _gradients(context: Context, weights: Sequence[nn.Parameter], report: Callable[[float], None]) -> list[Tensor]:
    """The gradients of the summed loss, summed over all texts."""
    model, read = context.model, context.calibration.texts
    tokens = sum(text.predicted for text in read)
    if not tokens:
        raise UserError(
            "taylor: the calibration text contains no token to predict", "use texts of at least two tokens each"
        )
    totals = [torch.zeros_like(weight) for weight in weights]
    for batch in batches(model, [text.ids if text.predicted else () for text in read]):
        with torch.enable_grad():
            loss = summed_loss(model(**batch.inputs).logits, batch, read)
        # An expert that no token was routed to has no gradient.
        gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        for accumulated, gradient in zip(totals, gradients, strict=True):
            accumulated.add_(gradient)
        report(sum(read[row].predicted for row in batch.rows) / tokens)
    return totals


def _product(weight: nn.Parameter, gradient: Tensor) -> float:
    return float((weight.detach().double() * gradient.double()).abs().sum())
