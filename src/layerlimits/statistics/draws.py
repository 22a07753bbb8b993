"""Draws of the means of models over the population of items, by the Bayesian bootstrap with pseudo-items."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

DRAWS = 4000
SEED = 0
# Above this number of items, means of graded values are treated as normal, which avoids drawing a weight per item.
_NORMAL_ABOVE_ITEMS = 4000
# Weights of the pseudo-items that only the base, and only the other model answers correctly.
LOST_AND_WON = (0.5, 0.5)
# Number of effective items of graded values above which the weight of the pseudo-items is reduced.
_FULL_PSEUDO_ITEMS = 5.0


def array(values: Sequence[float]) -> Values:
    """The values as float64."""
    return np.asarray(values, dtype=np.float64)


def binary(values: Values) -> bool:
    """Whether all values are right (1) or wrong (0)."""
    return bool(((values == 0) | (values == 1)).all())


def draw_means(
    values: Values, pseudo_items: float = 1.0, draws: int = DRAWS, lost_and_won: tuple[float, float] = LOST_AND_WON
) -> Values:
    """Bootstrap draws of the means of k models over the population of items: (n, k) values to (draws, k).

    Items get random Dirichlet weights (the Bayesian bootstrap, Rubin 1981). Pseudo-items are added, one for each of the
    2^k combinations of right and wrong, since resampling alone never produces an outcome that was not observed, such as
    a lost item when none was lost. Several tasks share the pseudo-items, so that their influence does not add up:
    each gets the fraction `pseudo_items`. Binary values need only one weight per combination.
    """
    n, k = values.shape
    ends, pseudo = outcomes(k), pseudo_weights(k, lost_and_won) * pseudo_items
    draw = np.random.default_rng(SEED)
    if binary(values):
        counts = np.bincount((values @ 2 ** np.arange(k)[::-1]).astype(int), minlength=2**k)
        weights: Values = draw.standard_gamma(counts + pseudo, (draws, 2**k))
        shares: Values = weights @ ends / weights.sum(1, keepdims=True)
        return shares
    if n > _NORMAL_ABOVE_ITEMS:
        return draw.multivariate_normal(values.mean(0), np.atleast_2d(np.cov(values.T)) / n, draws)
    items = _weights(n, draws)
    added = draw.standard_gamma(pseudo * min(1.0, _FULL_PSEUDO_ITEMS / _effective_items(values)), (draws, 2**k))
    low, high = values.min(), values.max()
    sums = items @ values.astype(np.float32) + added @ (low + (high - low) * ends)
    means: Values = sums / (items.sum(1) + added.sum(1))[:, None]
    return means


def outcomes(k: int) -> Values:
    """The 2^k combinations of right and wrong, (2^k, k)."""
    return np.array(list(product((0.0, 1.0), repeat=k)))


def pseudo_weights(k: int, lost_and_won: tuple[float, float] = LOST_AND_WON) -> Values:
    """The weight of each pseudo-item: for any two models, .5 per outcome where they differ and .25 where they agree.

    This is Jeffreys' prior for the fractions of lost and gained items. The weight is smaller where both are right or
    both are wrong, since it would bias a retention near 0 upwards. The weights were chosen by measured coverage.
    """
    lost, won = lost_and_won
    # In the order of the combinations of (base, other): both wrong, only the other right, only the base right, both.
    weights = {1: [0.5, 0.5], 2: [0.25, won, lost, 0.25], 3: [0.0] + [0.25] * 6 + [0.0]}
    return np.array(weights[k])


def _effective_items(values: Values) -> float:
    """The smallest effective number of items behind the scores, losses and differences: (sum d)^2 / sum d^2."""
    k = values.shape[1]
    apart = [values[:, [i]] - values[:, [j]] for i in range(k) for j in range(i)]
    columns = np.abs(np.hstack([values - values.min(), values.max() - values, *apart]))
    squares = (columns**2).sum(0)
    return float(np.min(columns.sum(0) ** 2 / np.where(squares > 0, squares, 1), initial=len(values)).clip(1))


@lru_cache(maxsize=4)
def _weights(n: int, draws: int) -> NDArray[np.float32]:
    """Unnormalized weights of n items, (draws, n); shared by all models, so that comparisons are paired."""
    return np.random.default_rng((SEED, n)).standard_exponential((draws, n), dtype=np.float32)
