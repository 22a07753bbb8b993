"""Confidence intervals for means and for paired comparisons of models on the same items. See docs/statistics.md."""

from collections.abc import Sequence

import numpy as np

from layerlimits.statistics.draws import (
    DRAWS,
    LOST_AND_WON,
    SEED,
    Values,
    array,
    binary,
    draw_means,
    outcomes,
    pseudo_weights,
)
from layerlimits.types import Estimate

_TAILS = (2.5, 97.5)
_Z = 1.959963984540054
# What an interval of retention needs for its coverage; simulated in tests/test_retention_coverage.py.
MIN_ITEMS, MIN_RIGHT = 15, 10
# Both the ratio and its draws are off by its bias, in the same direction. One task needs no shift, since percentiles
# allow for the skewness; in a mean over many tasks, skewness averages out and bias does not.
_BIAS_SHIFT = 2.0


def mean(values: Sequence[float]) -> Estimate:
    """The mean with a 95% interval: Wilson's interval for binary values, the Bayesian bootstrap for others."""
    scores = array(values)
    estimate = float(scores.mean())
    bounds = _wilson(estimate, len(scores)) if binary(scores) else _bounds(draw_means(scores[:, None])[:, 0], estimate)
    return Estimate(estimate, *bounds, len(scores))


def mean_over_tasks(tasks: Sequence[Sequence[float]]) -> Estimate:
    """The mean over tasks of the means of their values, with a 95% interval; `n` counts the items of all tasks."""
    if len(tasks) == 1:
        return mean(tasks[0])
    values = [array(task)[:, None] for task in tasks]
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
    if not binary(scores):
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


def enough_items(base: Estimate, chance: float = 0.0) -> bool:
    """Whether there are enough items for an interval of retention with the coverage given in docs/statistics.md.

    Of at least `MIN_ITEMS` items, the base model must answer `MIN_RIGHT` correctly, not counting those it would by
    guessing.

    Args:
        base: Score of the base model.
        chance: Score of guessing.
    """
    # Scores are sums divided by n.
    return base.n >= MIN_ITEMS and (base.estimate - chance) * base.n >= MIN_RIGHT - 1e-6


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
    draws: int = DRAWS,
    lost_and_won: tuple[float, float] = LOST_AND_WON,
) -> tuple[float, Values, int] | None:
    """The mean retention over tasks: estimate, draws of its distribution over items, and number of items; see `shared`.

    Args:
        pairs, chance: As for `shared`.
        draws: Number of draws; bounds at small errors need more than 95% intervals.
        lost_and_won: Weights of the pseudo-items that only the base model, and only the other model, answers correctly.
    """
    chances = [chance] * len(pairs) if isinstance(chance, (int, float)) else chance
    counted = [
        (np.stack([array(base), array(other)], axis=1), mean(base).low - floor, floor)
        for (base, other), floor in zip(pairs, chances, strict=True)
        if above(base, floor)
    ]
    if not counted:
        return None
    ratios = [_Ratio(values, floor, lowest, lost_and_won) for values, lowest, floor in counted]
    variances = np.array([ratio.variance for ratio in ratios])
    # All values may be equal, without any variance.
    shares = variances / variances.sum() if variances.any() else np.full(len(ratios), 1 / len(ratios))
    spread = np.zeros(draws)
    for task, (ratio, share) in enumerate(zip(ratios, shares, strict=True)):
        # A separate permutation per task keeps the draws of different tasks independent.
        drawn = np.random.default_rng((SEED, task)).permutation(ratio.draws(share, draws))
        spread += (drawn - _BIAS_SHIFT * (1 - share) * ratio.bias) / len(ratios)
    estimate = float(np.mean([ratio.estimate for ratio in ratios]))
    return estimate, spread, sum(len(values) for values, _, _ in counted)


class _Ratio:
    """The retention of one task: values of the base and of the other model, (n, 2), and the accuracy of guessing.

    The variance and the bias of the ratio are those of the delta method (Cochran 1977, section 6.8). The variance
    includes the pseudo-items, so that it is above 0 where no item was lost.
    """

    def __init__(self, values: Values, floor: float, lowest: float, lost_and_won: tuple[float, float]) -> None:
        self._values, self._floor, self._lowest, self._lost_and_won = values, floor, lowest, lost_and_won
        n, low, high = len(values), values.min(), values.max()
        base, other = values.mean(0) - floor
        self.estimate = float(other / base)
        (base_variance, covariance), _ = np.cov(values.T, bias=True)
        self.bias = float((self.estimate * base_variance - covariance) / base**2 / n)
        pseudo_items = self._residuals(low + (high - low) * outcomes(2))
        squares = (self._residuals(values) ** 2).sum() + pseudo_weights(2, lost_and_won) @ pseudo_items**2
        self.variance = float(squares / base**2 / n**2)

    def _residuals(self, values: Values) -> Values:
        above_chance = values - self._floor
        residuals: Values = above_chance[:, 1] - self.estimate * above_chance[:, 0]
        return residuals

    def draws(self, share: float, draws: int) -> Values:
        """Draws of the ratio, (draws,), with this fraction of the pseudo-items."""
        scores = draw_means(self._values, share, draws, self._lost_and_won) - self._floor
        # The base is significantly above chance, so draws are clipped at its lower bound: at chance, the ratio would be
        # unbounded.
        ratios: Values = scores[:, 1] / np.maximum(scores[:, 0], self._lowest)
        return ratios


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
    values = [np.stack([array(column) for column in columns], axis=1) for columns in tasks]
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
    tasks = [np.stack([array(base), array(other)], axis=1) for base, other in pairs]
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


def _mean_over_tasks(tasks: Sequence[Values]) -> Values:
    """Draws of the mean over tasks of the means of k models, (DRAWS, k); values of a task are (n, k)."""
    if len(tasks) == 1:
        return draw_means(tasks[0])
    draws: Values = np.zeros((DRAWS, tasks[0].shape[1]))
    for task, values in enumerate(tasks):
        # A separate permutation per task keeps the draws of different tasks independent.
        draws += np.random.default_rng((SEED, task)).permutation(draw_means(values, 1 / len(tasks))) / len(tasks)
    return draws
