"""The block of adjacent layers with the smallest angular distance between its input and output."""

import math

from layerlimits.errors import UserError
from layerlimits.methods import Context, smallest
from layerlimits.methods._similarity import similarity
from layerlimits.types import Ranking


def angular(context: Context) -> Ranking:
    """Angular distance: remove the block of n adjacent layers that changes the stream's direction least.

    d(l, n) = mean over texts of arccos(cos(h_l, h_{l+n})) / pi, at the last real token; remove l..l+n-1 at the minimum

    h_l (D,) is the residual stream entering layer l, and h_L the stream leaving the last layer before the final norm.
    Angles are computed in float64. Ties go to the later block, and a block never contains a protected layer. The score
    of layer l is d(l, n) for the requested n; it is None if no block can start at l. There is one plan for each n;
    `order` is the plan for the requested n, ascending.

    Raises:
        UserError: The number of layers is not given, the calibration text contains no token, or an angle is not finite.
    Source: arXiv 2403.17887, eq. 7
    Cost: one forward pass over the calibration text for all n, shared with block_influence
    """
    if context.layers is None:
        raise UserError(
            "angular removes one block of adjacent layers and requires the number of layers", "set layers (--layers)"
        )
    angles = similarity(context, "angular")["angles"]
    _check_finite(angles)
    plans = {}
    for count in range(1, context.depth):
        scores = _distances(angles, count, context.protected or ())
        if scores:
            start = smallest(scores)
            plans[count] = tuple(range(start, start + count))
    scores = _distances(angles, context.layers, context.protected or ())
    shown = tuple(scores.get(layer) for layer in range(context.depth))
    return Ranking(
        "angular",
        shown,
        plans.get(context.layers, ()),
        context.calibration.hashes,
        {"angles": angles},
        plans,
        protected=context.protected or (),
    )


def passes(depth: int, rounds: int) -> float:
    """One pass, independent of depth."""
    return 1.0


def _distances(angles: list[list[float]], count: int, protected: tuple[int, ...]) -> dict[int, float]:
    """d(l, count) of every block without a protected layer, by the block's first layer."""
    depth = len(angles) - 1
    return {
        start: angles[start][start + count]
        for start in range(depth - count + 1)
        if not any(start <= layer < start + count for layer in protected)
    }


def _check_finite(angles: list[list[float]]) -> None:
    for layer, row in enumerate(angles):
        if not all(math.isfinite(angle) for angle in row):
            raise UserError(
                f"angular: the stream entering layer {layer} is not finite", "use float32 or different calibration text"
            )
