"""Removes the last layers first."""

from layerlimits.methods import Context, by_score
from layerlimits.types import Ranking


def reverse(context: Context, *, keep_last: bool = False) -> Ranking:
    """Reverse order: the score of layer l is L - 1 - l, so the last layers are removed first.

    Args:
        keep_last: Keep the last layer and remove the layers before it, as in arXiv 2403.17887.
    Source: arXiv 2602.01997; with keep_last, arXiv 2403.17887
    Cost: none
    """
    depth = context.depth
    protected = set(context.protected or ()) | ({depth - 1} if keep_last else set())
    return by_score("reverse", [float(depth - 1 - layer) for layer in range(depth)], sorted(protected))
