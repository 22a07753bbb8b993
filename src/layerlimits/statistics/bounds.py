"""One-sided bounds of retention at any error, to decide on requirements. See docs/statistics.md."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from layerlimits.statistics.intervals import retention_draws
from layerlimits.types import Estimate

Values = NDArray[np.float64]

# A bound at error e is the quantile e of the draws: at least so many draws lie beyond it, up to a largest number.
_BEYOND, _LEAST_DRAWS, _MOST_DRAWS = 40, 4000, 100_000
# Weights per draw and item that fit into memory.
_MOST_WEIGHTS = 20_000_000
# Weights of the pseudo-items that only the base, and only the other model answers correctly. As in the interval of
# Clopper & Pearson, the lower bound counts one more item as lost, and the upper bound one more as won. With half of
# each, as in `intervals`, bounds at errors below .05 are wrong up to twice as often as they may be.
_LOWER, _UPPER = (1.0, 0.0), (0.0, 1.0)
_POWER = 0.8
# More items than this are not a plan.
_MOST_ITEMS = 1_000_000


@dataclass(frozen=True)
class RetentionBounds:
    """The mean retention over tasks with one-sided bounds, of `n` items; see `retention_bounds`."""

    estimate: float
    n: int
    _draw: Callable[[tuple[float, float]], Values]

    @cached_property
    def _lower(self) -> Values:
        return self._draw(_LOWER)

    @cached_property
    def _upper(self) -> Values:
        return self._draw(_UPPER)

    def reaches(self, threshold: float, error: float) -> bool:
        """Whether the lower bound is at least a threshold."""
        # The bound is no higher than the estimate, which costs no draws.
        return self.estimate >= threshold and self._low(error) >= threshold

    def at(self, error: float) -> Estimate:
        """The estimate with a lower bound that is too high with probability `error`, and an upper one likewise."""
        high = float(np.quantile(self._upper, 1 - error))
        return Estimate(self.estimate, self._low(error), max(high, self.estimate), self.n)

    def _low(self, error: float) -> float:
        return min(float(np.quantile(self._lower, error)), self.estimate)


def retention_bounds(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]], chances: Sequence[float], least_error: float
) -> RetentionBounds | None:
    """The mean retention over tasks, corrected for chance, with bounds at errors down to `least_error`.

    Args:
        pairs: Values of the base model and of the other model on the same items, for each task.
        chances: Score of random guessing of each task.
        least_error: The smallest error at which a bound will be read.
    Returns:
        None if the base model is above chance on no task, since retention is then undefined.
    """
    most = min(_MOST_DRAWS, _MOST_WEIGHTS // max(len(base) for base, _ in pairs)) if pairs else _MOST_DRAWS
    draws = max(_LEAST_DRAWS, min(most, math.ceil(_BEYOND / least_error)))
    known = retention_draws(pairs, chances, 1)
    if known is None:
        return None

    def draw(pseudo: tuple[float, float]) -> Values:
        drawn = retention_draws(pairs, chances, draws, pseudo)
        assert drawn is not None, "retention is defined"
        return drawn[1]

    return RetentionBounds(known[0], known[2], draw)


def items_factor(interval: Estimate, threshold: float, error: float) -> float:
    """How many times as many items decide with 80% power whether retention is at least a threshold.

    The true retention is assumed to be the estimate, and the width of the interval to fall as 1 / sqrt(n):
    ((z_error + z_power) s / |estimate - threshold|)^2 with s = (distance to the bound) / z_error. Infinite if the
    estimate is the threshold.
    """
    apart = abs(interval.estimate - threshold)
    if not apart:
        return math.inf
    to_bound = interval.estimate - interval.low if interval.estimate >= threshold else interval.high - interval.estimate
    z_error = NormalDist().inv_cdf(1 - error)
    return ((1 + NormalDist().inv_cdf(_POWER) / z_error) * to_bound / apart) ** 2


def items_to_decide(interval: Estimate, items: int, threshold: float, error: float) -> int | None:
    """The number of items per task, at two digits, that decides with 80% power; None if it exceeds a million.

    Args:
        interval: The retention, with bounds at `error`.
        items: Number of items per task behind it.
        threshold: The required retention.
        error: The error of the bounds.
    """
    needed = items * items_factor(interval, threshold, error)
    if needed > _MOST_ITEMS:
        return None
    whole = math.ceil(max(needed, items + 1))
    step: int = 10 ** max(0, len(str(whole)) - 2)
    return -(-whole // step) * step
