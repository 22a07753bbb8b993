"""Intervals on every figure: means, and paired comparisons of models on the same items. See docs/statistics.md."""

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
# Above so many items the means of graded values are normal; drawing weights for each would only cost memory.
_MANY = 4000
# So many items of graded values tell as much about what was not seen as the pseudo-items do.
_FEW = 5.0


def mean(values: Sequence[float]) -> Estimate:
    """A mean with its 95% interval: Wilson's for right-or-wrong values, the weighted bootstrap for others."""
    scores = _array(values)
    estimate = float(scores.mean())
    bounds = _wilson(estimate, len(scores)) if _binary(scores) else _bounds(_means(scores[:, None])[:, 0], estimate)
    return Estimate(estimate, *bounds, len(scores))


def sampled_mean(values: Sequence[Sequence[float]]) -> Estimate:
    """The mean of k sampled answers to every item, with a 95% interval over both items and samples.

    The spread of the items' own means holds both: var = between / n + within / (n k). For right-or-wrong values it
    gives the number of independent answers these are worth, for Wilson's interval (after Korn & Graubard 1998); for
    others the item means are the values of `mean`.

    Args:
        values: (n, k), the same k for every item.
    Returns:
        n counts items, not answers.
    Raises:
        ValueError: no item, or items with unlike numbers of answers.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 2 or scores.size == 0:
        raise ValueError(f"items x samples expected, got the shape {scores.shape}")
    n, k = scores.shape
    items = scores.mean(1)
    if not _binary(scores):
        return mean(items.tolist())
    estimate = float(items.mean())
    spread = float(items.var(ddof=1)) if n > 1 else 0.0
    # No spread means that all answers agree: then they may be worth no more than one an item. The second factor is
    # (z / t)^2, with t of n - 1 degrees of freedom: few items leave the spread itself uncertain.
    worth = estimate * (1 - estimate) * n / spread / (1 + (_Z**2 + 1) / (4 * (n - 1))) ** 2 if spread else n
    return Estimate(estimate, *_wilson(estimate, min(max(worth, n), n * k)), n)


def retention(base: Sequence[float], other: Sequence[float], chance: float = 0.0) -> Estimate | None:
    """The share of the base model's score that the other model keeps, on the same items in the same order.

    (mean(other) - chance) / (mean(base) - chance), for values in 0..1, with the 95% interval of the ratio's
    distribution over items: see docs/statistics.md for its measured coverage.

    Returns:
        None where the base gets nothing right, or is not significantly above chance: then nothing can be retained.
    Raises:
        ValueError: unlike numbers of values.
    """
    return shared([(base, other)], chance)


def above(base: Sequence[float], chance: float = 0.0) -> bool:
    """Whether a base model's score is significantly above chance, so that something can be retained of it."""
    return mean(base).low > chance


def shared(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]], chance: float | Sequence[float] = 0.0
) -> Estimate | None:
    """The mean retention over tasks, each given as (base values, other values); see `retention`.

    n counts the items of the tasks that count. Those whose base is not above chance do not; None where none is left.
    `chance` is one for all tasks, or one for each.
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
    spread = np.zeros(_DRAWS)
    for task, (values, lowest, floor) in enumerate(counted):
        means = _means(values, len(counted)) - floor
        # A base that is surely above chance is not drawn at it, where the ratio would be without bounds. Tasks have
        # other items than each other: a shuffle of its own for each keeps their draws independent.
        ratios = means[:, 1] / np.maximum(means[:, 0], lowest)
        spread += np.random.default_rng((_SEED, task)).permutation(ratios) / len(counted)
    return Estimate(estimate, *_bounds(spread, estimate), sum(len(values) for values, _, _ in counted))


def regained(base: Sequence[float], pruned: Sequence[float], recovered: Sequence[float]) -> Estimate | None:
    """The share of the lost score that came back: (recovered - pruned) / (base - pruned), paired as `retention` is.

    Returns:
        None where the loss is not significant (its own interval holds 0): then the share means nothing.
    """
    values = np.stack([_array(base), _array(pruned), _array(recovered)], axis=1)
    means = _means(values)
    whole, less, again = values.mean(0)
    lost = means[:, 0] - means[:, 1]
    lowest = float(np.percentile(lost, _TAILS[0]))
    if lowest <= 0:
        return None
    estimate = float((again - less) / (whole - less))
    spread = (means[:, 2] - means[:, 1]) / np.maximum(lost, lowest)
    return Estimate(estimate, *_bounds(spread, estimate), len(values))


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b of paired values, -1..1; None where fewer than two are there or all of a side are equal."""
    if len(first) < 2 or len(set(first)) < 2 or len(set(second)) < 2:
        return None
    # Imported where it is needed: it takes a third of a second, and most commands need none of it.
    from scipy.stats import kendalltau

    return float(kendalltau(first, second).statistic)


def _array(values: Sequence[float]) -> Values:
    return np.asarray(values, dtype=np.float64)


def _binary(values: Values) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95% interval of a share of n (Wilson 1927)."""
    middle, half = share + _Z**2 / (2 * n), _Z * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
    low, high = ((middle + side) / (1 + _Z**2 / n) for side in (-half, half))
    # Rounding must not put the share itself outside.
    return max(0.0, min(float(low), share)), min(1.0, max(float(high), share))


def _bounds(spread: Values, estimate: float) -> tuple[float, float]:
    """The middle 95% of draws, stretched to hold the estimate."""
    low, high = np.percentile(spread, _TAILS)
    return min(float(low), estimate), max(float(high), estimate)


def _means(values: Values, tasks: int = 1) -> Values:
    """Draws of the means of k models over the items that might have been asked: (n, k) values to (_DRAWS, k).

    Items get random weights with the Dirichlet distribution (the Bayesian bootstrap, Rubin 1981), beside pseudo-items:
    one for each way the k models can be right or wrong. Resampling alone would never show what did not occur, such as
    an item lost where none was. Several tasks share the pseudo-items, lest their pull add up. Right-or-wrong values
    need one weight for each of the 2^k ways only.
    """
    n, k = values.shape
    ends = np.array(list(product((0.0, 1.0), repeat=k)))
    pseudo = _pseudo(k) / tasks
    draw = np.random.default_rng(_SEED)
    if _binary(values):
        counts = np.bincount((values @ 2 ** np.arange(k)[::-1]).astype(int), minlength=2**k)
        weights: Values = draw.standard_gamma(counts + pseudo, (_DRAWS, 2**k))
        shares: Values = weights @ ends / weights.sum(1, keepdims=True)
        return shares
    if n > _MANY:
        return draw.multivariate_normal(values.mean(0), np.atleast_2d(np.cov(values.T)) / n, _DRAWS)
    items = _weights(n)
    added = draw.standard_gamma(pseudo * min(1.0, _FEW / _telling(values)), (_DRAWS, 2**k))
    low, high = values.min(), values.max()
    sums = items @ values.astype(np.float32) + added @ (low + (high - low) * ends)
    means: Values = sums / (items.sum(1) + added.sum(1))[:, None]
    return means


def _pseudo(k: int) -> Values:
    """The weight of each pseudo-item, so that any two models have .5 where they differ and .25 where they agree.

    Jeffreys' prior for the shares of items lost and won; less where both are right or both wrong, as it would pull a
    retention near 0 up. Chosen by measured coverage.
    """
    weights = {1: [0.5, 0.5], 2: [0.25, 0.5, 0.5, 0.25], 3: [0.0] + [0.25] * 6 + [0.0]}
    return np.array(weights[k])


def _telling(values: Values) -> float:
    """How many items the scores, the losses and the models' differences rest on, at the least: (sum d)^2 / sum d^2."""
    k = values.shape[1]
    apart = [values[:, [i]] - values[:, [j]] for i in range(k) for j in range(i)]
    columns = np.abs(np.hstack([values - values.min(), values.max() - values, *apart]))
    squares = (columns**2).sum(0)
    return float(np.min(columns.sum(0) ** 2 / np.where(squares > 0, squares, 1), initial=len(values)).clip(1))


@lru_cache(maxsize=4)
def _weights(n: int) -> NDArray[np.float32]:
    """Weights of n items before they are normed, (_DRAWS, n): the same for all models, so that they are paired."""
    return np.random.default_rng((_SEED, n)).standard_exponential((_DRAWS, n), dtype=np.float32)
