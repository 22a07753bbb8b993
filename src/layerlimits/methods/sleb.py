"""Greedy removal by the loss on the calibration text."""

from layerlimits.methods import Context, by_rounds
from layerlimits.methods._losses import losses
from layerlimits.types import Ranking


def sleb(context: Context, *, ends: bool = True) -> Ranking:
    """Greedy rounds: skip each remaining layer in turn and remove the one whose removal gives the smallest loss.

    loss(S) = mean over predicted tokens of -ln p(token | previous tokens), of the model without the layers S

    `scores` are the losses of the first round; `detail` contains every round.

    Args:
        ends: Whether the first and the last layer may be removed; the algorithm allows it, the authors' code does not.
    Raises:
        UserError: There is no token to predict, more rounds than unprotected layers, or a loss that is not finite.
    Source: SLEB, arXiv 2402.09025, algorithm 1
    Cost: about rounds x layers / 2 forward passes over the calibration text
    """

    def score(removed: tuple[int, ...], left: list[int]) -> dict[int, float]:
        return losses(context, removed, left, 1 / context.rounds)

    protected = {*(context.protected or ()), *(() if ends else (0, context.depth - 1))}
    return by_rounds("sleb", context, sorted(protected), score, context.calibration.hashes)


def passes(depth: int, rounds: int) -> float:
    """Per round, one full pass plus the layers after each skipped layer."""
    return rounds * (1 + depth / 2)
