"""Drop the last layers."""

from layerlimits.methods import Context, by_score
from layerlimits.types import Ranking


def reverse(context: Context, *, keep_last: bool = False) -> Ranking:
    """The last layers first: layer l has the score L - 1 - l.

    Args:
        keep_last: leave the last layer in place and drop those before it, as arXiv 2403.17887 does.
    Source: arXiv 2602.01997; with keep_last arXiv 2403.17887
    Cost: none
    """
    depth = context.depth
    protected = set(context.protected or ()) | ({depth - 1} if keep_last else set())
    return by_score("reverse", [float(depth - 1 - layer) for layer in range(depth)], sorted(protected))
