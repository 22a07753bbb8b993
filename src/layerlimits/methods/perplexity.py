"""How perplexed the calibration text leaves the model without a layer."""

import math
from dataclasses import replace

from layerlimits.methods import Context, by_score
from layerlimits.methods._losses import losses
from layerlimits.types import Ranking


def perplexity(context: Context) -> Ranking:
    """Perplexity of the calibration text with one layer skipped; the smallest goes first, all scored once.

    PPL_l = exp(mean over predicted tokens of -ln p(token | those before it)), of the model without layer l

    The mean runs over the tokens of all texts together: all but the first of a plain text, the answer's of a
    conversation. Layers are ordered by the mean itself: where it is over 709 nats, PPL is inf in `scores`.

    Raises:
        UserError: no token to predict, or a loss that is not a number.
    Source: Shortened LLaMA, arXiv 2402.02834
    Cost: about layers / 2 forward passes over the calibration text: those before the skipped layer are shared
    """
    protected = context.protected or ()
    left = [layer for layer in range(context.depth) if layer not in protected]
    measured = losses(context, (), left)
    # Ordered by loss: the perplexities of losses over 709 nats are all inf.
    ranking = by_score(
        "perplexity", [measured.get(layer) for layer in range(context.depth)], protected, context.calibration.hashes
    )
    return replace(ranking, scores=tuple(_perplexity(loss) for loss in ranking.scores))


def _perplexity(loss: float | None) -> float | None:
    """exp(loss), inf where a float cannot hold it."""
    if loss is None:
        return None
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def passes(depth: int, rounds: int) -> float:
    """One, and what follows each skipped layer."""
    return 1 + depth / 2
