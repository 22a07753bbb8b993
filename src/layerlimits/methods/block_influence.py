"""How much each layer turns the residual stream."""

from layerlimits.methods import Context, by_score
from layerlimits.methods._similarity import similarity
from layerlimits.types import Ranking


def block_influence(context: Context) -> Ranking:
    """Block influence of every layer on the calibration text; the smallest goes first.

    BI_l = 1 - mean over real tokens of cos(h_l, h_{l+1})

    h_l (T, D) is the residual stream entering layer l, h_L the one leaving the last layer before the final norm; the
    mean runs over the tokens of all texts together, cosines and sums in float64.

    Raises:
        UserError: no calibration token, or a score that is not finite.
    Source: ShortGPT, arXiv 2403.03853, eq. 1
    Cost: one forward pass over the calibration text, shared with angular
    """
    scores = [1 - cosine for cosine in similarity(context, "block_influence")["turn"]]
    return by_score("block_influence", scores, context.protected or (), context.calibration.hashes)


def passes(depth: int, rounds: int) -> float:
    """One, whatever the depth."""
    return 1.0
