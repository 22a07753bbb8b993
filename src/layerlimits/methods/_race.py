"""Racing: candidates that can no longer win are not evaluated on the remaining items."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# Maximum number of parts the items are split into (candidates are dropped between parts), and minimum number of items
# per part, below which batching no longer pays off.
MAX_PARTS, MIN_ITEMS = 4, 12


def parts_of(items: int) -> int:
    """The number of parts into which a race splits a task's items."""
    return max(1, min(MAX_PARTS, items // MIN_ITEMS))


def race(
    candidates: int, ask: Callable[[list[int], int], Values], parts: int, error: float
) -> tuple[list[float], list[int]]:
    """Sum each candidate's values over all parts, dropping candidates that can no longer win.

    After each part except the last, a candidate is dropped if it trails the leader by more than chance explains. With d
    the paired differences on the items evaluated so far, P(sum d >= S) <= min over t of exp(-t S) prod cosh(t d) under
    the null hypothesis that both signs are equally likely (Chernoff 1952). A Bonferroni correction over a candidate's
    rivals and the parts keeps the total error probability at or below `error`.

    Args:
        candidates: Number of candidates.
        ask: (candidates, part) -> the contribution of each item of the part to the sum, (candidates, items).
        parts: Number of parts.
        error: Probability in 0..1 that the best candidate is dropped; 0 drops no candidate.
    Returns:
        The sums, and the number of parts evaluated for each candidate. Sums of dropped candidates are extrapolated from
        the evaluated items and capped below the best.
    """
    values: list[list[Values]] = [[] for _ in range(candidates)]
    running = list(range(candidates))
    level = error / (max(1, candidates - 1) * max(1, parts - 1))
    for part in range(parts):
        for candidate, scores in zip(running, ask(running, part), strict=True):
            values[candidate].append(scores)
        if part < parts - 1:
            running = [candidate for candidate in running if not _behind(candidate, running, values, level)]
    sums = [float(sum(part.sum() for part in scores)) for scores in values]
    best = max(sums[candidate] for candidate in running)
    asked = [len(scores) for scores in values]
    for candidate in range(candidates):
        if candidate not in running:
            sums[candidate] = min(sums[candidate] * parts / asked[candidate], math.nextafter(best, -math.inf))
    return sums, asked


def _behind(candidate: int, running: Sequence[int], values: Sequence[Sequence[Values]], level: float) -> bool:
    """Whether a candidate is significantly behind the leader of the running candidates."""
    leader = max(running, key=lambda other: sum(part.sum() for part in values[other]))
    apart = np.concatenate(values[leader]) - np.concatenate(values[candidate])
    apart = apart[apart != 0]
    ahead = float(apart.sum())
    return ahead > 0 and level > 0 and _chance(ahead, np.abs(apart)) < math.log(level)


def _chance(ahead: float, apart: Values) -> float:
    """Log of the bound on the probability that differences of these sizes with random signs sum to at least `ahead`."""
    tilts = np.geomspace(1e-2, 1e2, 81)[:, None] / apart.max()
    # log cosh x = x + log(1 + exp(-2 x)) - log 2 does not overflow.
    grown = tilts * apart + np.log1p(np.exp(-2 * tilts * apart)) - math.log(2)
    return float((grown.sum(1) - tilts[:, 0] * ahead).min())
