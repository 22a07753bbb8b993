"""The block of adjacent layers that turns the last token's stream the least."""

import math

from layerlimits.errors import UserError
from layerlimits.methods import Context, smallest
from layerlimits.methods._similarity import similarity
from layerlimits.types import Ranking


def angular(context: Context) -> Ranking:
    """The block of n adjacent layers across which the stream's direction changes least, for every n.

    d(l, n) = mean over texts of arccos(cos(h_l, h_{l+n})) / pi, at the last real token; remove l..l+n-1 at the minimum

    h_l (D,) is the residual stream entering layer l, h_L the one leaving the last layer before the final norm; angles
    in float64. Ties go to the later block. A block never holds a protected layer. The score of layer l is d(l, n) of
    the block that starts there, for the n asked for; None where no such block may start. There is one plan for each n,
    and `order` is the plan for the n asked for, ascending.

    Raises:
        UserError: no number of layers given, no calibration token, or an angle that is not finite.
    Source: arXiv 2403.17887, eq. 7
    Cost: one forward pass over the calibration text for all n, shared with block_influence
    """
    if context.layers is None:
        raise UserError("angular removes one block of adjacent layers: it needs their number", "add --layers")
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
    """One, whatever the depth."""
    return 1.0


def _distances(angles: list[list[float]], count: int, protected: tuple[int, ...]) -> dict[int, float]:
    """d(l, count) of every block that holds no protected layer, by its first layer."""
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
                f"angular finds the stream entering layer {layer} not finite", "use float32, or other calibration text"
            )
