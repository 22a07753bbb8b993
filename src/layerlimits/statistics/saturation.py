"""A saturating fit of a score against trained tokens: the projected ceiling, and what more training would bring.

    score(t) = a - b g(t / c),  with g(x) = exp(-x^d), d in {1/2, 1}, or g(x) = (1 + x)^-d, d in {1/2, 1}

a is the ceiling, b the distance to it before training, c the scale in tokens. The stretched exponential and the power
law with an offset are two families that describe learning curves of many learners (Domhan et al. 2015; Viering & Loog
2022, arXiv 2103.10948): the first saturates quickly, the second slowly. Both are finite at t = 0, where the score is
that of the pruned model. A curve of four to twelve points determines neither the family nor d, and the choice decides
the ceiling; fitting one family would give an interval that is far too narrow. So all of them take part:

1. The items are weighted at random (the Bayesian bootstrap, Rubin 1981), with the same weights at every milestone,
   since these ask the same items.
2. For each c on a logarithmic grid and each g, a and b follow by linear least squares with a <= 1 and b >= 0 (variable
   projection, Golub & Pereyra 1973). This finds the minimum for all draws at once; the optimizers of scipy, which would
   search the plane of (c, d) for each draw, need a starting point for each and can stop in a local minimum.
3. One of these curves is drawn with probability proportional to exp(-RSS / (2 s^2)), where s^2 is the variance of a
   milestone's score on fixed items, from the items that change between neighbouring milestones.

The central 90% of these draws is the interval. docs/statistics.md has its measured coverage, also beyond the fitted
tokens. A curve that later breaks, such as one that overfits, cannot be foreseen by any of these shapes.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from layerlimits.statistics.projection import Backtest, Crossing, Projection, Saturation

Values = NDArray[np.float64]
# The scores of one task, (milestones, items).
Scores = Sequence[Sequence[float]]

# Three parameters and a residual.
MIN_POINTS = 4
_DRAWS, _SEED = 1000, 0
_TAILS = (5.0, 50.0, 95.0)
_SHAPES: tuple[Callable[[Values], Values], ...] = (
    lambda x: np.exp(-np.sqrt(x)),
    lambda x: np.exp(-x),
    lambda x: (1 + x) ** -0.5,
    lambda x: (1 + x) ** -1.0,
)
# The scale c: from a fraction of the first milestone to a multiple of the last.
_SCALES, _FIRST_FRAC, _LAST_MULTIPLE = 30, 1 / 3, 30.0
# Tokens up to which the crossing of half recovery is searched, as a multiple of the trained ones.
_HORIZON, _STEPS = 100.0, 400
_TINY = 1e-12


def saturation(tokens: Sequence[float], tasks: Sequence[Scores], half: float | None = None) -> Saturation:
    """Fit the mean score over tasks against trained tokens.

    Args:
        tokens: Trained tokens of each milestone, ascending; 0 is the pruned model.
        tasks: The scores of each task, (milestones, items), in 0..1.
        half: The score halfway between the pruned and the unpruned model.
    Raises:
        ValueError: The milestones do not ascend, or their number differs from that of the scores.
    """
    curve = _Curve(tokens, tasks)
    reason = curve.refusal()
    if reason:
        return Saturation(len(tokens), None, None, None, reason)
    ten = curve.at(np.array([10 * curve.tokens[-1]]))[:, 0]
    crossing = None if half is None else curve.crossing(half)
    return Saturation(len(tokens), _projection(curve.ceilings), _projection(ten), crossing)


def backtest(tokens: Sequence[float], tasks: Sequence[Scores], share: float = 0.5) -> Backtest:
    """Fit the milestones within the first `share` of the tokens, and project the score at the last milestone.

    Raises:
        ValueError: As for `saturation`.
    """
    count = sum(token <= share * tokens[-1] for token in tokens)
    end = float(np.mean([np.mean(scores[-1]) for scores in tasks]))
    known = (count, float(tokens[count - 1]) if count else 0.0, float(tokens[-1]), end)
    if count < MIN_POINTS:
        return Backtest(*known, None, _too_few(count))
    curve = _Curve(tokens[:count], [scores[:count] for scores in tasks])
    if reason := curve.refusal():
        return Backtest(*known, None, reason)
    noise = np.random.default_rng((_SEED, 1)).normal(0.0, np.sqrt(curve.variance), _DRAWS)
    return Backtest(*known, _projection(curve.at(np.array([float(tokens[-1])]))[:, 0] + noise))


def _projection(draws: Values) -> Projection:
    low, middle, high = np.percentile(draws, _TAILS)
    return Projection(float(middle), float(low), float(high))


def _too_few(count: int) -> str:
    return f"{count} milestone{'s' * (count != 1)}, and a fit takes {MIN_POINTS}"


class _Curve:
    """Draws of fitted curves; `tokens`, `means` and `variance` are those of the data."""

    def __init__(self, tokens: Sequence[float], tasks: Sequence[Scores]) -> None:
        self.tokens = np.asarray(tokens, dtype=np.float64)
        scores = [np.asarray(task, dtype=np.float64) for task in tasks]
        if not scores or any(task.ndim != 2 or len(task) != len(self.tokens) for task in scores):
            raise ValueError(f"expected scores of shape ({len(self.tokens)}, items) for each task")
        if (np.diff(self.tokens) <= 0).any() or (self.tokens < 0).any():
            raise ValueError("the tokens of milestones must ascend from 0")
        self.means: Values = np.mean([task.mean(1) for task in scores], axis=0)
        self.variance = float(sum(map(_variance, scores))) / len(scores) ** 2
        self._draw = np.random.default_rng(_SEED)
        self._sampled: Values = np.mean([self._reweighted(task) for task in scores], axis=0)
        if len(self.tokens) >= MIN_POINTS:
            self._fit()

    def _reweighted(self, scores: Values) -> Values:
        """Scores of the milestones on random weights of the items, (_DRAWS, milestones)."""
        weights = self._draw.standard_exponential((_DRAWS, scores.shape[1]))
        shares: Values = (weights / weights.sum(1, keepdims=True)) @ scores.T
        return shares

    def _fit(self) -> None:
        last = self.tokens[-1]
        scales = np.geomspace(self.tokens[self.tokens > 0].min() * _FIRST_FRAC, last * _LAST_MULTIPLE, _SCALES)
        self._cells = [(shape, scale) for shape in _SHAPES for scale in scales]
        basis = np.array([shape(self.tokens / scale) for shape, scale in self._cells])
        ceilings, heights, losses = _least_squares(basis, self._sampled)
        odds = -losses / (2 * self.variance)
        # The largest sum with Gumbel noise has the probability of the softmax.
        chosen = (odds + self._draw.gumbel(size=odds.shape)).argmax(0)
        draws = np.arange(_DRAWS)
        self._chosen = chosen
        self.ceilings: Values = ceilings[chosen, draws]
        self._heights = heights[chosen, draws]
        self._loss = float(_least_squares(basis, self.means[None])[2].min())

    def at(self, tokens: Values) -> Values:
        """The fitted scores at numbers of tokens, (_DRAWS, tokens)."""
        values = np.array([shape(tokens / scale) for shape, scale in self._cells])
        fitted: Values = self.ceilings[:, None] - self._heights[:, None] * values[self._chosen]
        return fitted

    def refusal(self) -> str:
        """Why nothing is projected; empty if the curve rises and the shapes fit."""
        if len(self.tokens) < MIN_POINTS:
            return _too_few(len(self.tokens))
        first, last = self.means[0], self.means[-1]
        if np.percentile(self._sampled[:, -1] - self._sampled[:, 0], _TAILS[0]) <= 0:
            return f"the score does not rise beyond doubt over training (from {first:.3f} to {last:.3f})"
        # Imported lazily: it takes a third of a second, and most commands do not need it.
        from scipy.stats import chi2

        if self._loss / self.variance > chi2.ppf(0.99, max(1, len(self.tokens) - 3)):
            return "the fit failed: the scores do not follow a curve that rises to a ceiling"
        return ""

    def crossing(self, level: float) -> Crossing:
        """Tokens at which the draws reach a level: by the median curve, and by the bounds of the 90% interval."""
        positive = self.tokens[self.tokens > 0]
        grid = np.geomspace(positive[0] * _FIRST_FRAC, positive[-1] * _HORIZON, _STEPS)
        late, middle, early = (_first(grid, curve >= level) for curve in np.percentile(self.at(grid), _TAILS, axis=0))
        return Crossing(middle, early, late)


def _first(grid: Values, reached: NDArray[np.bool_]) -> float | None:
    return float(grid[reached.argmax()]) if reached.any() else None


def _variance(scores: Values) -> float:
    """Variance of a milestone's mean score on fixed items: items that change between neighbours count half each."""
    n = scores.shape[1]
    changes = float(np.diff(scores, axis=0).var(1).mean()) / (2 * n) if len(scores) > 1 else 0.0
    floor: float = (0.5 / n) ** 2
    return max(changes, floor)


def _least_squares(basis: Values, scores: Values) -> tuple[Values, Values, Values]:
    """The best a <= 1 and b >= 0 of scores (S, M) on bases (K, M), and the residual sums of squares, (K, S) each."""
    centre, mean = basis.mean(1, keepdims=True), scores.mean(1)
    steep = basis - centre
    heights = np.maximum(-(steep @ (scores - mean[:, None]).T) / ((steep**2).sum(1) + _TINY)[:, None], 0)
    ceilings = mean + heights * centre
    below = (basis @ (1 - scores).T) / ((basis**2).sum(1) + _TINY)[:, None]
    heights = np.where(ceilings > 1, below, heights)
    ceilings = np.minimum(ceilings, 1.0)
    fitted = ceilings[:, :, None] - heights[:, :, None] * basis[:, None, :]
    return ceilings, heights, ((scores[None] - fitted) ** 2).sum(2)
