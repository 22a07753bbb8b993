"""The cost of a success, such as tokens per correct answer, with intervals over items. See docs/statistics.md."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from layerlimits.types import Estimate

_DRAWS = 4000
_SEED = 0
_TAILS = (2.5, 97.5)
# Weight of the pseudo-items (wrong, wrong), (wrong, right), (right, wrong), (right, right) of two models: Jeffreys'
# prior for the fractions of lost and won items, as for retention.
_PSEUDO = np.array([0.25, 0.5, 0.5, 0.25])
_RIGHT = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
Values = NDArray[np.float64]


def cost_per_success(cost: Sequence[float], success: Sequence[float]) -> Estimate | None:
    """The cost of all items divided by the number of successes, with a 95% interval over items.

    Args:
        cost: Cost of each item, such as the tokens of its answer.
        success: Whether each item is a success, 0 or 1, in the same order.
    Returns:
        None if nothing is a success or costs anything.
    """
    if not sum(success) or not sum(cost):
        return None
    costs, rights = _means(cost, cost, success, success)
    return _estimate(sum(cost) / sum(success), costs[:, 0] / rights[:, 0], len(cost))


def relative_cost(
    cost: tuple[Sequence[float], Sequence[float]], success: tuple[Sequence[float], Sequence[float]]
) -> Estimate | None:
    """The cost per success of a model divided by the base model's, with a 95% interval over items.

    (sum of cost / number of successes) of the other model / the same of the base, paired by item.

    Args:
        cost: Cost of each item for the base and for the other model, on the same items in order.
        success: Whether each item is a success for the base and for the other model, 0 or 1.
    Returns:
        None if a model has no success or no cost.
    """
    if not all(map(sum, (*cost, *success))):
        return None
    costs, rights = _means(*cost, *success)
    spread = (costs[:, 1] / rights[:, 1]) / (costs[:, 0] / rights[:, 0])
    estimate = (sum(cost[1]) / sum(success[1])) / (sum(cost[0]) / sum(success[0]))
    return _estimate(estimate, spread, len(cost[0]))


def _means(*columns: Sequence[float]) -> tuple[Values, Values]:
    """Bootstrap draws of the mean costs and successes of two models, each (draws, 2).

    Items get random Dirichlet weights (the Bayesian bootstrap, Rubin 1981). The pseudo-items, which cost the mean, keep
    outcomes possible that no item has, so that no draw is without successes.
    """
    values = np.array(columns, dtype=np.float64).T
    items, pseudo = _weights(len(values))
    total = (items.sum(1) + pseudo.sum(1))[:, None]
    costs = (items @ values[:, :2] + pseudo.sum(1)[:, None] * values[:, :2].mean(0)) / total
    return costs, (items @ values[:, 2:] + pseudo @ _RIGHT) / total


def _estimate(estimate: float, spread: Values, n: int) -> Estimate:
    low, high = np.percentile(spread, _TAILS)
    return Estimate(estimate, min(float(low), estimate), max(float(high), estimate), n)


@lru_cache(maxsize=4)
def _weights(n: int) -> tuple[Values, Values]:
    """Unnormalized weights of n items and of the pseudo-items; shared by all models."""
    draw = np.random.default_rng((_SEED, n))
    return draw.standard_exponential((_DRAWS, n)), draw.standard_gamma(_PSEUDO, (_DRAWS, 4))
