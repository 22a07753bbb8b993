"""How large a layer's weights are."""

from torch import nn

from layerlimits.methods import Context, by_score
from layerlimits.methods._weights import layer_weights, plus_rule
from layerlimits.types import Ranking


def magnitude(context: Context, *, p: int = 1, norms: bool = False, plus: bool = False) -> Ranking:
    """The layer with the smallest weights goes first.

    M_l = sum over the weight matrices W of layer l of sum |W|^p

    in float64, which no input influences.

    Args:
        p: 1 or 2; 1 where not given.
        norms: count the gains of norms too.
        plus: protect layers 0 to 3 and the last two.
    Raises:
        UserError: a score that is not finite.
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
