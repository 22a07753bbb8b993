"""The saturating fit of a recovery curve, and how often its forecasts hold, by simulation.

`python tests/test_saturation.py` prints the table of docs/statistics.md.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from layerlimits.statistics.projection import Backtest, Projection
from layerlimits.statistics.saturation import backtest, saturation

Values = NDArray[np.float64]
END = 1e6


def milestones(count: int) -> list[float]:
    """The pruned model, then tokens that double up to the end."""
    return [0.0, *(END / 2 ** (count - 2 - number) for number in range(count - 1))]


def answers(scores: Values, n: int, draw: np.random.Generator) -> list[list[float]]:
    """Binary values of the same n items at each milestone; how hard an item is stays the same."""
    hard = np.sqrt(0.6) * draw.standard_normal((1, n)) + np.sqrt(0.4) * draw.standard_normal((len(scores), n))
    return (hard < norm.ppf(scores)[:, None]).astype(float).tolist()


# Scores in 0..1 between before and after of training, against tokens / scale; the last never saturates.
SHAPES: dict[str, Callable[[Values, np.random.Generator], Values]] = {
    "exponential": lambda x, _: 1 - np.exp(-x),
    "stretched exponential": lambda x, draw: 1 - np.exp(-(x ** draw.uniform(0.4, 1.2))),
    "power law": lambda x, draw: 1 - (1 + x) ** -draw.uniform(0.3, 1.5),
    "Hill": lambda x, draw: 1 - 1 / (1 + x ** draw.uniform(0.6, 1.6)),
    "logarithm": lambda x, _: np.log1p(x) / np.log1p(10**1.5),
}


def true_curve(kind: str, tokens: list[float], draw: np.random.Generator) -> tuple[Values, float]:
    """True scores at tokens, and the ceiling."""
    before = draw.uniform(0.05, 0.4)
    after = draw.uniform(before + 0.1, min(0.95, before + 0.6))
    scale = END * 10 ** (-1.5 if kind == "logarithm" else draw.uniform(-2, 0.3))
    return before + (after - before) * SHAPES[kind](np.array(tokens) / scale, draw), after


def backtests(kind: str, n: int, count: int, share: float, curves: int) -> list[Backtest]:
    draw, tokens = np.random.default_rng(1), milestones(count)
    scores = [true_curve(kind, tokens, draw)[0] for _ in range(curves)]
    return [backtest(tokens, [answers(curve, n, draw)], share) for curve in scores]


def coverage(tests: list[Backtest]) -> tuple[float, float]:
    """How often the end lies in the 90% interval, and how many curves had a forecast."""
    held = [test.held for test in tests if test.held is not None]
    return float(np.mean(held)), len(held) / len(tests)


@pytest.mark.parametrize("kind", [kind for kind in SHAPES if kind != "logarithm"])
def test_the_end_lies_in_the_interval_of_its_first_half(kind: str) -> None:
    share, forecast = coverage(backtests(kind, 150, 9, 0.5, 80))
    # A standard error of 60 forecasts is .04; docs/statistics.md has 400 curves of each.
    assert share >= 0.85 - 0.05
    assert forecast > 0.5


def test_a_forecast_that_ignores_the_choice_of_shape_would_hold_less_often() -> None:
    # The interval of the last milestone alone, as if the score stayed where it is.
    draw, tokens, held = np.random.default_rng(2), milestones(9), []
    for _ in range(80):
        values = np.array(answers(true_curve("power law", tokens, draw)[0], 150, draw))
        spread = 1.64 * values[-2].std() / np.sqrt(150)
        held.append(abs(values[-1].mean() - values[-2].mean()) <= spread / 2)
    assert np.mean(held) < 0.8


def test_a_clear_curve_is_projected() -> None:
    tokens = np.array(milestones(10))
    scores = 0.7 - 0.5 * np.exp(-tokens / (END / 8))
    fitted = saturation(tokens.tolist(), [answers(scores, 3000, np.random.default_rng(3))], half=0.5)
    assert fitted.reason == ""
    assert fitted.ceiling is not None
    assert fitted.ten_times is not None
    assert fitted.ceiling.low - 0.02 <= 0.7 <= fitted.ceiling.high + 0.02
    assert fitted.ten_times.high - fitted.ten_times.low < 0.12
    assert fitted.half is not None
    assert fitted.half.estimate == pytest.approx(END / 8 * np.log(0.5 / 0.2), rel=0.3)
    assert fitted.half.low is not None
    assert fitted.half.high is not None
    assert fitted.half.low <= fitted.half.estimate <= fitted.half.high
    beyond = saturation(tokens.tolist(), [answers(scores, 3000, np.random.default_rng(3))], half=0.95).half
    assert beyond is not None
    assert beyond.estimate is None


def test_tasks_count_equally_and_narrow_the_interval() -> None:
    tokens = np.array(milestones(8))
    scores, draw = 0.6 - 0.4 * np.exp(-tokens / (END / 8)), np.random.default_rng(4)
    one, *more = [answers(scores, 100, draw) for _ in range(6)]
    alone, together = saturation(tokens.tolist(), [one]), saturation(tokens.tolist(), [one, *more])
    assert alone.ten_times is not None
    assert together.ten_times is not None
    assert width(together.ten_times) < width(alone.ten_times)


def width(projection: Projection) -> float:
    return projection.high - projection.low


def test_too_few_milestones_have_no_ceiling() -> None:
    fitted = saturation([0, 1, 2], [[[0.0, 1.0], [1.0, 1.0], [1.0, 1.0]]], half=0.5)
    assert (fitted.ceiling, fitted.ten_times, fitted.half) == (None, None, None)
    assert fitted.reason == "3 milestones, and a fit takes 4"


def test_a_first_half_of_too_few_milestones_has_no_forecast() -> None:
    tested = backtest([0, 1, 7, 8], [[[0.0, 1.0]] * 4])
    assert (tested.points, tested.tokens, tested.forecast, tested.held) == (2, 1, None, None)
    assert tested.reason == "2 milestones, and a fit takes 4"


def test_a_score_that_does_not_rise_has_no_ceiling() -> None:
    tokens, draw = milestones(8), np.random.default_rng(5)
    flat = saturation(tokens, [answers(np.full(8, 0.4), 200, draw)])
    falling = saturation(tokens, [answers(np.linspace(0.6, 0.3, 8), 200, draw)])
    assert flat.ceiling is None
    assert "does not rise beyond doubt over training (from 0." in flat.reason
    assert "does not rise beyond doubt" in falling.reason


def test_a_curve_that_breaks_is_a_failed_fit() -> None:
    scores = np.array([0.1, 0.2, 0.5, 0.8, 0.8, 0.5, 0.3, 0.3])
    fitted = saturation(milestones(8), [answers(scores, 400, np.random.default_rng(6))])
    assert fitted.ceiling is None
    assert fitted.reason.startswith("the fit failed")


def test_scores_stay_below_one_and_projections_are_repeatable() -> None:
    scores = np.clip(0.2 + 0.1 * np.arange(8), 0, 0.97)
    values = answers(scores, 60, np.random.default_rng(7))
    fitted = saturation(milestones(8), [values])
    assert fitted.ceiling is not None
    assert fitted.ceiling.high <= 1
    assert saturation(milestones(8), [values]) == fitted


@pytest.mark.parametrize(
    ("tokens", "scores"),
    [
        ([0, 2, 1, 3], [[0.0]] * 4),
        ([0, 1, 2, 3], [[0.0]] * 3),
        ([-1, 1, 2, 3], [[0.0]] * 4),
        ([0, 1, 1, 3], [[1.0]] * 4),
    ],
)
def test_milestones_ascend_and_have_scores(tokens: list[float], scores: list[list[float]]) -> None:
    with pytest.raises(ValueError):
        saturation(tokens, [scores])


def main(curves: int = 400) -> None:
    """Print how often the end lies in the interval, and how often there is a forecast."""
    for kind, n, (share, count) in product(SHAPES, (100, 300), ((0.5, 9), (0.1, 9))):
        held, forecast = coverage(backtests(kind, n, count, share, curves))
        print(f"| {kind} | {n} | {share:g} | {held:.2f} | {forecast:.2f} |", flush=True)


if __name__ == "__main__":
    main()
