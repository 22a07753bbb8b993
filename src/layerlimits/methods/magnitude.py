"""Magnitude of a layer's weights."""

from torch import nn

from layerlimits.methods import Context, by_score
from layerlimits.methods._weights import layer_weights, plus_rule
from layerlimits.types import Ranking


def magnitude(context: Context, *, p: int = 1, norms: bool = True, plus: bool = False) -> Ranking:
    """Sum of the magnitudes of a layer's weights; the smallest is removed first.

    M_l = sum over the weights W of layer l of sum |W|^p

    Sums are computed in float64. The scores do not depend on any input.

    Args:
        p: 1 or 2.
        norms: Include the gains of norms, as the authors' code does.
        plus: Protect layers 0 to 3 and the last two layers.
    Raises:
        UserError: A score is not finite.
    Source: Shortened LLaMA, arXiv 2402.02834
    Cost: none: weights only
    """
    scores = []
    with context.progress() as report:
        for weights in layer_weights(context, norms=norms):
            scores.append(sum(_power(weight, p) for weight in weights))
            report(1 / context.depth)
    return by_score("magnitude", scores, plus_rule(context, plus=plus))


def _power(weight: nn.Parameter, p: int) -> float:
    return float(weight.detach().double().abs().pow(p).sum())
