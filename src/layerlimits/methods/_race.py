"""Racing: candidates that cannot win any more are not asked the rest of the items."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# How often a race looks at the field; the items are asked in so many parts, none so small that asking them together
# is no gain.
LOOKS, FEWEST = 4, 12


def looks(items: int) -> int:
    """How often to look at a race over so many items of a task."""
    return max(1, min(LOOKS, items // FEWEST))


def race(
    candidates: int, ask: Callable[[list[int], int], Values], parts: int, error: float
) -> tuple[list[float], list[int]]:
    """The candidates' sums over all parts, asked only as far as they can still win.

    After each part but the last, a candidate is dropped if it lies behind the leader by more than chance explains: with
    d the paired differences of the items asked so far, P(sum d >= S) <= min over t of exp(-t S) prod cosh(t d) if
    neither is better, each sign being as likely as the other (Chernoff 1952). The bound is at most `error` over all
    rivals of a candidate and all looks together.

    Args:
        candidates: how many there are.
        ask: (candidates, part) -> what each item of the part adds to the sum, (candidates, items).
        parts: how many there are.
        error: the chance that the best candidate is dropped though another is no better, in 0..1; 0 drops none.
    Returns:
        The sums, those of dropped candidates scaled up from the items they were asked and below the best; and the parts
        that each was asked.
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
    """Whether a candidate lies surely behind the leader of those running."""
    leader = max(running, key=lambda other: sum(part.sum() for part in values[other]))
    apart = np.concatenate(values[leader]) - np.concatenate(values[candidate])
    apart = apart[apart != 0]
    ahead = float(apart.sum())
    return ahead > 0 and level > 0 and _chance(ahead, np.abs(apart)) < math.log(level)


def _chance(ahead: float, apart: Values) -> float:
    """The logarithm of a bound on the chance that differences of these sizes, signs at random, sum to so much."""
    tilts = np.geomspace(1e-2, 1e2, 81)[:, None] / apart.max()
    # log cosh x = x + log(1 + exp(-2 x)) - log 2, which does not overflow.
    grown = tilts * apart + np.log1p(np.exp(-2 * tilts * apart)) - math.log(2)
    return float((grown.sum(1) - tilts[:, 0] * ahead).min())
