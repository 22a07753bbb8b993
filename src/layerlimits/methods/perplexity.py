"""Perplexity of the calibration text with one layer removed."""

import math
from dataclasses import replace

from layerlimits.methods import Context, by_score
from layerlimits.methods._losses import losses
from layerlimits.types import Ranking


def perplexity(context: Context) -> Ranking:
    """Perplexity of the calibration text with one layer skipped; the smallest is removed first. One-shot.

    PPL_l = exp(mean over predicted tokens of -ln p(token | previous tokens)), of the model without layer l

    The mean runs over the tokens of all texts pooled: every token but the first of a plain text, and the answer tokens
    of a conversation. Layers are ordered by the mean loss itself, since PPL overflows to inf above 709 nats.

    Raises:
        UserError: There is no token to predict, or a loss is not a number.
    Source: Shortened LLaMA, arXiv 2402.02834
    Cost: about layers / 2 forward passes over the calibration text; the layers before the skipped one are run once
    """
    protected = context.protected or ()
    left = [layer for layer in range(context.depth) if layer not in protected]
    measured = losses(context, (), left)
    # Sort by loss, since the perplexity of every loss above 709 nats is inf.
    ranking = by_score(
        "perplexity", [measured.get(layer) for layer in range(context.depth)], protected, context.calibration.hashes
    )
    return replace(ranking, scores=tuple(_perplexity(loss) for loss in ranking.scores))


def _perplexity(loss: float | None) -> float | None:
    """exp(loss), or inf on overflow."""
    if loss is None:
        return None
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def passes(depth: int, rounds: int) -> float:
    """One full pass, plus the layers after each skipped layer."""
    return 1 + depth / 2
