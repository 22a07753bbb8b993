"""Rates over documents, such as nats per token, with bootstrap intervals over the documents."""

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from layerlimits.types import Estimate

_DRAWS = 4000
_SEED = 0
_TAILS = (2.5, 97.5)
_Z = 1.959963984540054


def rate(amounts: Sequence[float], units: Sequence[float]) -> Estimate:
    """sum(amounts) / sum(units) over n documents, with a 95% interval over documents.

    The interval is that of the Bayesian bootstrap (Rubin 1981): documents get random Dirichlet weights. Its distance
    from the estimate is multiplied by t / z * sqrt((m + 1) / (m - 1)), with the quantile t of m - 1 degrees of freedom
    and the effective number m = sum(units)^2 / sum(units^2), at least 2: the spread of few documents, or of few large
    ones, is itself uncertain. docs/statistics.md gives the measured coverage.

    Args:
        amounts: One value per document, (n,).
        units: Its size, positive, (n,).
    Raises:
        ValueError: There are fewer than two documents, or the numbers of values differ.
    """
    values: NDArray[np.float64] = np.stack([np.asarray(amounts, float), np.asarray(units, float)], axis=1)
    n = len(values)
    if n < 2:
        raise ValueError(f"an interval requires 2 documents, got {n}")
    from scipy.stats import t

    weights = np.random.default_rng(_SEED).standard_gamma(1.0, (_DRAWS, n))
    sums = weights @ values
    low, high = np.percentile(sums[:, 0] / sums[:, 1], _TAILS)
    total, size = values.sum(0)
    estimate = float(total / size)
    effective = max(2.0, float(size**2 / (values[:, 1] ** 2).sum()))
    wider = float(t.ppf(0.975, effective - 1)) / _Z * sqrt((effective + 1) / (effective - 1))
    below, above = max(0.0, estimate - float(low)), max(0.0, float(high) - estimate)
    return Estimate(estimate, estimate - wider * below, estimate + wider * above, n)
