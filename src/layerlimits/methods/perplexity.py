"""How perplexed the calibration text leaves the model without a layer."""

import math

from layerlimits.methods import Context, by_score
from layerlimits.methods._losses import losses
from layerlimits.types import Ranking


def perplexity(context: Context) -> Ranking:
    """Perplexity of the calibration text with one layer skipped; the smallest goes first, all scored once.

    PPL_l = exp(mean over predicted tokens of -ln p(token | those before it)), of the model without layer l

    The mean runs over the tokens of all texts together: all but the first of a plain text, the answer's of a
    conversation.

    Raises:
        UserError: no token to predict, or a score that is not finite.
    Source: Shortened LLaMA, arXiv 2402.02834
    Cost: about layers / 2 forward passes over the calibration text: those before the skipped layer are shared
    """
    protected = context.protected or ()
    left = [layer for layer in range(context.depth) if layer not in protected]
    found = losses(context, (), left)
    scores = [math.exp(found[layer]) if layer in found else None for layer in range(context.depth)]
    return by_score("perplexity", scores, protected, context.calibration.hashes)


def passes(depth: int, rounds: int) -> float:
    """One, and what follows each skipped layer."""
    return 1 + depth / 2
