"""Intervals on every figure: means, and paired comparisons of two models on the same items."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from layerlimits.types import Finding

Values = NDArray[np.float64]

_RESAMPLES = 2000
_SEED = 0
_TAILS = (2.5, 97.5)


@cache
def _draws(n: int) -> NDArray[np.int64]:
    """Bootstrap resamples of n items, (_RESAMPLES, n): the same for all models, so that comparisons are paired."""
    return np.random.default_rng(_SEED + n).integers(0, n, (_RESAMPLES, n))


def _wilson(values: Values) -> tuple[float, float]:
    # Imported where it is needed: it takes a third of a second, and most commands need none of it.
    from scipy.stats import binomtest

    interval = binomtest(int(values.sum()), len(values)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def _binary(values: Values) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def mean(what: str, values: Sequence[float], ids: Sequence[str] = ()) -> Finding:
    """A mean with its 95% interval: Wilson's for right-or-wrong values, the percentile bootstrap for others."""
    scores = np.asarray(values, dtype=np.float64)
    if _binary(scores):
        low, high = _wilson(scores)
    else:
        low, high = (float(bound) for bound in np.percentile(scores[_draws(len(scores))].mean(1), _TAILS))
    return Finding(what, float(scores.mean()), low, high, len(scores), tuple(ids))


def retention(what: str, base: Sequence[float], other: Sequence[float], chance: float = 0.0) -> Finding | None:
    """The share of the base model's score that the other model keeps, on the same items in the same order.

    (mean(other) - chance) / (mean(base) - chance), with the percentile interval of a bootstrap over items. Where the
    other model's values do not vary, resampling cannot show its uncertainty: then Wilson's bounds on its mean, divided
    by the base's mean, take the place of it.

    Returns:
        None where the base is not above chance: then there is nothing to retain.
    """
    return shared(what, [(base, other)], chance)


def shared(what: str, pairs: Sequence[tuple[Sequence[float], Sequence[float]]], chance: float = 0.0) -> Finding | None:
    """The mean retention over tasks, each given as (base values, other values); see `retention`.

    n counts the items of all tasks. Tasks whose base is not above chance are left out; None where none is left.
    """
    kept = [(_array(base), _array(other)) for base, other in pairs if _array(base).mean() > chance]
    if not kept:
        return None
    estimates, spreads = zip(*(_resampled(base, other, chance) for base, other in kept), strict=True)
    low, high = np.percentile(np.mean(spreads, axis=0), _TAILS)
    n, estimate = sum(len(base) for base, _ in kept), float(np.mean(estimates))
    return Finding(what, estimate, min(float(low), estimate), max(float(high), estimate), n)


def _array(values: Sequence[float]) -> Values:
    return np.asarray(values, dtype=np.float64)


def _resampled(base: Values, other: Values, chance: float) -> tuple[float, Values]:
    """The ratio and its resampled values, (_RESAMPLES,)."""
    estimate = float((other.mean() - chance) / (base.mean() - chance))
    draws = _draws(len(base))
    below = base[draws].mean(1) - chance
    # A resample whose base is at chance has no ratio; it cannot happen often where the base is well above it.
    ratios = (other[draws].mean(1) - chance) / np.where(below > 0, below, np.nan)
    ratios = np.where(np.isnan(ratios), estimate, ratios)
    if other.min() == other.max() and _binary(other) and other.mean() != base.mean():
        ratios = _spread(other, base.mean(), chance)
    return estimate, ratios


def _spread(other: Values, base: float, chance: float) -> Values:
    """Ratios between Wilson's bounds on the other model's mean: stand in for a bootstrap without variation."""
    low, high = _wilson(other)
    tail = _TAILS[0] / 100
    edge = np.linspace(-tail / (1 - 2 * tail), 1 + tail / (1 - 2 * tail), _RESAMPLES)
    return (low + (high - low) * np.clip(edge, 0, 1) - chance) / (base - chance)


def regained(what: str, base: Sequence[float], pruned: Sequence[float], recovered: Sequence[float]) -> Finding | None:
    """The share of the lost score that came back: (recovered - pruned) / (base - pruned), paired bootstrap.

    Returns:
        None where the loss is not significant (its own interval holds 0): then the share means nothing.
    """
    whole, less, again = _array(base), _array(pruned), _array(recovered)
    draws = _draws(len(whole))
    lost = whole[draws].mean(1) - less[draws].mean(1)
    if np.percentile(lost, _TAILS[0]) <= 0:
        return None
    shares = (again[draws].mean(1) - less[draws].mean(1)) / np.where(lost > 0, lost, np.nan)
    low, high = np.nanpercentile(shares, _TAILS)
    estimate = float((again.mean() - less.mean()) / (whole.mean() - less.mean()))
    return Finding(what, estimate, float(low), float(high), len(whole))


def kendall_tau(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Kendall's tau-b of paired values, -1..1; None where fewer than two are there or all of a side are equal."""
    if len(one) < 2 or len(set(one)) < 2 or len(set(other)) < 2:
        return None
    from scipy.stats import kendalltau

    return float(kendalltau(one, other).statistic)
