"""Block influence: how much each layer changes the direction of the residual stream."""

from layerlimits.methods import Context, by_score
from layerlimits.methods._similarity import similarity
from layerlimits.types import Ranking


def block_influence(context: Context) -> Ranking:
    """Block influence of every layer on the calibration text; the smallest is removed first.

    BI_l = 1 - mean over real tokens of cos(h_l, h_{l+1})

    h_l (T, D) is the residual stream entering layer l, and h_L the stream leaving the last layer before the final norm.
    The mean runs over the tokens of all texts pooled; cosines and sums are computed in float64.

    Raises:
        UserError: The calibration text contains no token, or a score is not finite.
    Source: ShortGPT, arXiv 2403.03853, eq. 1
    Cost: one forward pass over the calibration text, shared with angular
    """
    scores = [1 - cosine for cosine in similarity(context, "block_influence")["turn"]]
    return by_score("block_influence", scores, context.protected or (), context.calibration.hashes)


def passes(depth: int, rounds: int) -> float:
    """One pass, independent of depth."""
    return 1.0
