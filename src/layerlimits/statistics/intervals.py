"""Confidence intervals for means and for paired comparisons of models on the same items. See docs/statistics.md."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from layerlimits.types import Estimate

Values = NDArray[np.float64]

_DRAWS = 4000
_SEED = 0
_TAILS = (2.5, 97.5)
_Z = 1.959963984540054
# Above this number of items, means of graded values are treated as normal, which avoids drawing a weight per item.
_NORMAL_ABOVE_ITEMS = 4000
# Weights of the pseudo-items that only the base, and only the other model answers correctly.
_LOST_AND_WON = (0.5, 0.5)
# Number of effective items of graded values above which the weight of the pseudo-items is reduced.
_FULL_PSEUDO_ITEMS = 5.0


def mean(values: Sequence[float]) -> Estimate:
    """The mean with a 95% interval: Wilson's interval for binary values, the Bayesian bootstrap for others."""
    scores = _array(values)
    estimate = float(scores.mean())
    bounds = _wilson(estimate, len(scores)) if _binary(scores) else _bounds(_means(scores[:, None])[:, 0], estimate)
    return Estimate(estimate, *bounds, len(scores))


def mean_over_tasks(tasks: Sequence[Sequence[float]]) -> Estimate:
    """The mean over tasks of the means of their values, with a 95% interval; `n` counts the items of all tasks."""
    if len(tasks) == 1:
        return mean(tasks[0])
    values = [_array(task)[:, None] for task in tasks]
    estimate = float(np.mean([task.mean() for task in values]))
    return Estimate(estimate, *_bounds(_mean_over_tasks(values)[:, 0], estimate), sum(map(len, values)))


def sampled_mean(values: Sequence[Sequence[float]]) -> Estimate:
    """The mean over n items with k sampled answers each, with a 95% interval over both items and samples.

    The variance of the item means contains both: var = between / n + within / (n k). For binary values it gives the
    effective number of independent answers for Wilson's interval (Korn & Graubard 1998); for other values, `mean` is
    applied to the item means.

    Args:
        values: (n, k), with the same k for every item.
    Returns:
        An estimate whose `n` counts items, not answers.
    Raises:
        ValueError: There is no item, or the number of answers differs between items.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 2 or scores.size == 0:
        raise ValueError(f"expected values of shape (items, samples), got shape {scores.shape}")
    n, k = scores.shape
    items = scores.mean(1)
    if not _binary(scores):
        return mean(items.tolist())
    estimate = float(items.mean())
    spread = float(items.var(ddof=1)) if n > 1 else 0.0
    # Zero variance means that all answers agree, so the effective number may be as low as one per item. The second
    # factor is (z / t)^2 with n - 1 degrees of freedom, since the variance itself is uncertain for few items.
    effective = estimate * (1 - estimate) * n / spread / (1 + (_Z**2 + 1) / (4 * (n - 1))) ** 2 if spread else n
    return Estimate(estimate, *_wilson(estimate, min(max(effective, n), n * k)), n)


def retention(base: Sequence[float], other: Sequence[float], chance: float = 0.0) -> Estimate | None:
    """Retention: the fraction of the base model's score that the other model keeps, on the same items in order.

    (mean(other) - chance) / (mean(base) - chance), for values in 0..1, with the 95% interval of the ratio's
    distribution over items; docs/statistics.md gives its measured coverage.

    Returns:
        None if the base score is 0 or not significantly above chance, since retention is then undefined.
    Raises:
        ValueError: The number of values differs.
    """
    return shared([(base, other)], chance)


def above(base: Sequence[float], chance: float = 0.0) -> bool:
    """Whether a base model's score is significantly above chance, so that its retention is defined."""
    return mean(base).low > chance


def shared(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]], chance: float | Sequence[float] = 0.0
) -> Estimate | None:
    """The mean retention over tasks, each given as (base values, other values); see `retention`.

    Tasks whose base score is not above chance are excluded, and `n` counts the items of the included tasks. None if
    every task is excluded. `chance` is one value for all tasks, or one per task.
    """
    drawn = retention_draws(pairs, chance)
    return None if drawn is None else Estimate(drawn[0], *_bounds(drawn[1], drawn[0]), drawn[2])


def retention_draws(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]],
    chance: float | Sequence[float] = 0.0,
    draws: int = _DRAWS,
    pseudo: tuple[float, float] = _LOST_AND_WON,
) -> tuple[float, Values, int] | None:
    """The mean retention over tasks: estimate, draws of its distribution over items, and number of items; see `shared`.

    Args:
        pairs, chance: As for `shared`.
        draws: Number of draws; bounds at small errors need more than 95% intervals.
        pseudo: Weights of the pseudo-items that only the base model, and only the other model, answers correctly.
    """
    chances = [chance] * len(pairs) if isinstance(chance, (int, float)) else chance
    counted = [
        (np.stack([_array(base), _array(other)], axis=1), mean(base).low - floor, floor)
        for (base, other), floor in zip(pairs, chances, strict=True)
        if above(base, floor)
    ]
    if not counted:
        return None
    estimate = float(np.mean([np.divide(*(values.mean(0) - floor)[::-1]) for values, _, floor in counted]))
    spread = np.zeros(draws)
    for task, (values, lowest, floor) in enumerate(counted):
        means = _means(values, len(counted), draws, _pseudo(2, pseudo)) - floor
        # The base is significantly above chance, so draws are clipped at its lower bound: at chance, the ratio would be
        # unbounded. A separate permutation per task keeps the draws of different tasks independent.
        ratios = means[:, 1] / np.maximum(means[:, 0], lowest)
        spread += np.random.default_rng((_SEED, task)).permutation(ratios) / len(counted)
    return estimate, spread, sum(len(values) for values, _, _ in counted)


def regained(base: Sequence[float], pruned: Sequence[float], recovered: Sequence[float]) -> Estimate | None:
    """The fraction of the lost score that was regained on one task; see `gap_closed`."""
    return gap_closed([(base, pruned, recovered)])


def gap_closed(tasks: Sequence[tuple[Sequence[float], Sequence[float], Sequence[float]]]) -> Estimate | None:
    """The fraction of the lost score that was regained: (recovered - pruned) / (base - pruned), paired by item.

    Each task is given as (base values, pruned values, recovered values). The three scores are means over the tasks, so
    that a task without a loss does not make the fraction undefined. It is negative if finetuning made scores worse.

    Returns:
        None if the loss is not significant (its own interval contains 0), since the fraction is then undefined.
    """
    values = [np.stack([_array(column) for column in columns], axis=1) for columns in tasks]
    means = _mean_over_tasks(values)
    whole, less, again = np.mean([task.mean(0) for task in values], axis=0)
    lost = means[:, 0] - means[:, 1]
    lowest = float(np.percentile(lost, _TAILS[0]))
    if lowest <= 0:
        return None
    estimate = float((again - less) / (whole - less))
    spread = (means[:, 2] - means[:, 1]) / np.maximum(lost, lowest)
    return Estimate(estimate, *_bounds(spread, estimate), sum(map(len, values)))


def difference(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Estimate:
    """The mean over tasks of mean(other) - mean(base), each task given as (base values, other values), paired by item.

    Values lie in 0..1. The interval is that of the distribution over items, as for `retention`; `n` counts the items of
    all tasks. docs/statistics.md gives its measured coverage.

    Raises:
        ValueError: There is no task, or the numbers of values of a task differ.
    """
    tasks = [np.stack([_array(base), _array(other)], axis=1) for base, other in pairs]
    if not tasks:
        raise ValueError("no task to compare")
    estimate = float(np.mean([np.diff(values.mean(0)) for values in tasks]))
    spread = _mean_over_tasks(tasks)
    return Estimate(estimate, *_bounds(spread[:, 1] - spread[:, 0], estimate), sum(map(len, tasks)))


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b of paired values, -1..1; None for fewer than two pairs or if one side is constant."""
    if len(first) < 2 or len(set(first)) < 2 or len(set(second)) < 2:
        return None
    # Imported lazily: it takes a third of a second, and most commands do not need it.
    from scipy.stats import kendalltau

    return float(kendalltau(first, second).statistic)


def _array(values: Sequence[float]) -> Values:
    return np.asarray(values, dtype=np.float64)


def _binary(values: Values) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95% interval for a proportion of n (Wilson 1927)."""
    middle, half = share + _Z**2 / (2 * n), _Z * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
    low, high = ((middle + side) / (1 + _Z**2 / n) for side in (-half, half))
    # Rounding must not exclude the proportion itself.
    return max(0.0, min(float(low), share)), min(1.0, max(float(high), share))


def _bounds(spread: Values, estimate: float) -> tuple[float, float]:
    """The central 95% of the draws, extended to contain the estimate."""
    low, high = np.percentile(spread, _TAILS)
    return min(float(low), estimate), max(float(high), estimate)


def _means(values: Values, tasks: int = 1, draws: int = _DRAWS, pseudo: Values | None = None) -> Values:
    """Bootstrap draws of the means of k models over the population of items: (n, k) values to (draws, k).

    Items get random Dirichlet weights (the Bayesian bootstrap, Rubin 1981). Pseudo-items are added, one for each of the
    2^k combinations of right and wrong, since resampling alone never produces an outcome that was not observed, such as
    a lost item when none was lost. Several tasks share the pseudo-items, so that their influence does not add up.
    Binary values need only one weight per combination.
    """
    n, k = values.shape
    ends = np.array(list(product((0.0, 1.0), repeat=k)))
    pseudo = (_pseudo(k) if pseudo is None else pseudo) / tasks
    draw = np.random.default_rng(_SEED)
    if _binary(values):
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


def _mean_over_tasks(tasks: Sequence[Values]) -> Values:
    """Draws of the mean over tasks of the means of k models, (_DRAWS, k); values of a task are (n, k)."""
    if len(tasks) == 1:
        return _means(tasks[0])
    draws: Values = np.zeros((_DRAWS, tasks[0].shape[1]))
    for task, values in enumerate(tasks):
        # A separate permutation per task keeps the draws of different tasks independent.
        draws += np.random.default_rng((_SEED, task)).permutation(_means(values, len(tasks))) / len(tasks)
    return draws


def _pseudo(k: int, lost_and_won: tuple[float, float] = _LOST_AND_WON) -> Values:
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
    return np.random.default_rng((_SEED, n)).standard_exponential((draws, n), dtype=np.float32)
