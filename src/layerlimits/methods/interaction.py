"""Greedy removal by a second-order model of the loss: single-layer and pairwise costs, measured once."""

import math
from collections.abc import Callable
from typing import Any

from layerlimits.errors import UserError
from layerlimits.methods import Context, by_rounds, finite
from layerlimits.methods._losses import restored, stored
from layerlimits.models.losses import pair_losses
from layerlimits.types import Ranking


def interaction(context: Context) -> Ranking:
    """Greedy removal of the layer with the smallest own cost plus pairwise costs with the layers already removed.

    a_i = D_i - D_0,  a_ij = D_ij - D_i - D_j + D_0;  remove the smallest a_i + sum over removed j of a_ij

    D_ij is the mean loss per predicted token of the calibration text without layers i and j. The costs form a
    second-order model of the loss of any set of layers, so the greedy search needs no further passes. `scores` holds
    a_i.

    Raises:
        UserError: There is no token to predict, more rounds than unprotected layers, or a loss that is not finite.
    Source: this package; second-order surrogate of the loss after removal
    Cost: about layers^2 / 6 forward passes over the calibration text
    """
    protected = context.protected or ()
    free = [layer for layer in range(context.depth) if layer not in protected]
    with context.progress() as report:
        losses = context.cached(f"losses without pairs of {free}", lambda: _measure(context, free, report))
    whole, alone = losses["whole"], dict(zip(free, restored(losses["alone"]), strict=True))
    if whole is None:
        raise UserError(
            "interaction: the loss of the unpruned model is infinite",
            "use float32 or different calibration text",
        )
    own = {layer: loss - whole for layer, loss in alone.items()}
    both = restored([loss for _, _, loss in losses["both"]])
    together = {
        (i, j): _pair_cost(loss, alone[i], alone[j], whole)
        for (i, j, _), loss in zip(losses["both"], both, strict=True)
    }

    def score(removed: tuple[int, ...], left: list[int]) -> dict[int, float]:
        return {
            layer: own[layer] + sum(together[min(layer, gone), max(layer, gone)] for gone in removed) for layer in left
        }

    detail = {"pairs": [[i, j, finite(cost)] for (i, j), cost in together.items()]}
    return by_rounds("interaction", context, protected, score, context.calibration.hashes, detail)


def _pair_cost(both: float, first: float, second: float, whole: float) -> float:
    """D_ij - D_i - D_j + D_0; 0 if D_i or D_j is infinite, since that layer's own cost is then infinite too."""
    return 0.0 if math.isinf(first) or math.isinf(second) else both - first - second + whole


def passes(depth: int, rounds: int) -> float:
    """For each pair, only the layers after the later one are run again."""
    return 1 + depth / 2 + depth**2 / 6


def _measure(context: Context, free: list[int], report: Callable[[float], None]) -> dict[str, Any]:
    whole, alone, both = pair_losses(context.model, context.calibration.texts, free, report)
    losses = stored(both.values())
    return {
        "whole": stored([whole])[0],
        "alone": stored(alone.values()),
        "both": [[i, j, loss] for (i, j), loss in zip(both, losses, strict=True)],
    }
