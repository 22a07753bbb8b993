"""Greedy removal by single and pairwise losses: what two layers cost together, measured once."""

from collections.abc import Callable
from typing import Any

from layerlimits.methods import Context, by_rounds
from layerlimits.models.losses import pair_losses
from layerlimits.types import Ranking


def interaction(context: Context) -> Ranking:
    """Greedily the layer with the smallest own cost and cost together with those already removed.

    a_i = D_i - D_0,  a_ij = D_ij - D_i - D_j + D_0;  remove the smallest a_i + sum over removed j of a_ij

    D is the mean loss a predicted token of the calibration text without the layers named: a second-order model of the
    loss of any set, from which the greedy search needs no further pass. `scores` are the a_i.

    Raises:
        UserError: no token to predict, more rounds than unprotected layers, or a loss that is not finite.
    Source: second-order surrogate of the loss after removal
    Cost: about layers^2 / 6 forward passes over the calibration text
    """
    protected = context.protected or ()
    free = [layer for layer in range(context.depth) if layer not in protected]
    with context.progress() as report:
        losses = context.cached(f"losses without pairs of {free}", lambda: _measure(context, free, report))
    whole, alone = losses["whole"], dict(zip(free, losses["alone"], strict=True))
    own = {layer: loss - whole for layer, loss in alone.items()}
    together = {(i, j): loss - alone[i] - alone[j] + whole for i, j, loss in losses["both"]}

    def score(removed: tuple[int, ...], left: list[int]) -> dict[int, float]:
        return {
            layer: own[layer] + sum(together[min(layer, gone), max(layer, gone)] for gone in removed) for layer in left
        }

    detail = {"pairs": [[i, j, cost] for (i, j), cost in together.items()]}
    return by_rounds("interaction", context, protected, score, context.calibration.hashes, detail)


def passes(depth: int, rounds: int) -> float:
    """What follows the later layer of each pair."""
    return 1 + depth / 2 + depth**2 / 6


def _measure(context: Context, free: list[int], report: Callable[[float], None]) -> dict[str, Any]:
    whole, alone, both = pair_losses(context.model, context.calibration.texts, free, report)
    return {"whole": whole, "alone": list(alone.values()), "both": [[i, j, loss] for (i, j), loss in both.items()]}
