"""Coverage of 95% intervals and false-positive rates of tests, by simulation.

`python tests/test_stats_coverage.py` prints the tables of docs/statistics.md.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta, multivariate_normal, norm

from layerlimits.statistics.intervals import difference, mean, regained, retention, sampled_mean, shared
from layerlimits.statistics.significance import holm, items_needed, mcnemar, sign_flip
from layerlimits.types import Estimate

Values = NDArray[np.float64]
RATIOS = (0.02, 0.5, 0.9, 0.98)
ACCURACIES = (0.3, 0.6, 0.9)
# Correlation of the latent normal variables: how much the two models agree on which items are hard.
HARD = (0.3, 0.7, 0.95)


def table(accuracy: float, ratio: float, hard: float) -> Values:
    """Probabilities that (both, only the base, only the other, neither) of two models are right."""
    other = accuracy * ratio
    both = multivariate_normal([0, 0], [[1, hard], [hard, 1]]).cdf(norm.ppf([accuracy, other]))
    return np.clip([both, accuracy - both, other - both, 1 - accuracy - other + both], 0, 1)


def answers(counts: Values) -> tuple[list[float], list[float]]:
    """The binary values of two models with these counts in the four cells."""
    return np.repeat([1.0, 1.0, 0.0, 0.0], counts).tolist(), np.repeat([1.0, 0.0, 1.0, 0.0], counts).tolist()


def held(interval: Estimate | None, truth: float) -> bool | None:
    """Whether an interval contains the true value; None if it was not measurable."""
    return None if interval is None else interval.low <= truth <= interval.high


def rate(outcomes: Iterator[bool | None]) -> float:
    """The fraction of True among the outcomes that are not None."""
    known = [outcome for outcome in outcomes if outcome is not None]
    return sum(known) / len(known)


def coverage(n: int, accuracy: float, ratio: float, hard: float, studies: int, chance: float = 0.0) -> float:
    """Coverage of the retention interval over simulated studies of n binary items."""
    draws = np.random.default_rng(1).multinomial(n, table(accuracy, ratio, hard), studies)
    truth = (accuracy * ratio - chance) / (accuracy - chance)
    cells, times = np.unique(draws, axis=0, return_counts=True)
    outcomes = [held(retention(*answers(cell), chance), truth) for cell in cells]
    return rate(outcome for outcome, count in zip(outcomes, times, strict=True) for _ in range(count))


def allowed(bound: float, studies: int) -> float:
    """Two and a half standard errors of a rate over `studies` studies."""
    return 2.5 * float(np.sqrt(bound * (1 - bound) / studies))


# The old percentile bootstrap held the truth in .78 of the first and .89 of the second.
@pytest.mark.parametrize(
    ("n", "accuracy", "ratio", "hard"),
    [
        (50, 0.9, 0.98, 0.95),
        (300, 0.6, 0.02, 0.7),
        (50, 0.3, 0.02, 0.3),
        (50, 0.6, 0.9, 0.95),
        (100, 0.9, 0.98, 0.7),
        (50, 0.3, 0.5, 0.7),
        (300, 0.6, 0.5, 0.95),
        (1000, 0.3, 0.02, 0.7),
        (1000, 0.9, 0.98, 0.95),
    ],
)
def test_the_interval_of_retention_holds_the_truth(n: int, accuracy: float, ratio: float, hard: float) -> None:
    share = coverage(n, accuracy, ratio, hard, 800)
    assert share >= 0.93 - allowed(0.93, 800)
    assert share <= (0.97 if ratio == 0.5 else 0.99) + allowed(0.97, 800)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "ratio"), list(product((50, 100, 300, 1000), RATIOS)))
def test_the_interval_of_retention_holds_the_truth_everywhere(n: int, ratio: float) -> None:
    rates = [coverage(n, accuracy, ratio, hard, 4000) for accuracy in ACCURACIES for hard in HARD]
    assert min(rates) >= 0.93 - allowed(0.93, 4000)
    assert max(rates) <= (0.97 if ratio == 0.5 else 0.99) + allowed(0.97, 4000)


@pytest.mark.parametrize(("accuracy", "ratio"), [(0.6, 0.5), (0.9, 0.98), (0.4, 0.7)])
def test_so_does_the_chance_corrected_one(accuracy: float, ratio: float) -> None:
    # With 100 items, 0.4 is barely above the chance of .25: there is an interval only if it is significantly above.
    assert coverage(100, accuracy, ratio, 0.7, 800, 0.25) >= 0.93 - allowed(0.93, 800)


def test_guessing_is_seldom_called_measurable() -> None:
    draw = np.random.default_rng(2)
    values = [(draw.random((2, 200)) < 0.25).astype(float) for _ in range(1000)]
    intervals = [retention(*both.tolist(), 0.25) for both in values]
    assert sum(interval is not None for interval in intervals) / 1000 <= 0.025 + allowed(0.025, 1000)


def graded(draw: np.random.Generator, kind: str, n: int, ratio: float, hard: float) -> tuple[Values, Values]:
    """Two models' values in 0..1 with means whose ratio is `ratio`."""
    normal = draw.multivariate_normal([0, 0], [[1, hard], [hard, 1]], n)
    first, second = norm.cdf(normal).T
    if kind == "overlap":  # like ROUGE: spread about .25, few zeros
        return beta.ppf(first, 4, 12), beta.ppf(second, 16 * 0.25 * ratio, 16 * (1 - 0.25 * ratio))
    if kind == "partial":  # wrong, or partly right
        part = draw.random((2, n))
        part[1] = np.where(draw.random(n) < 0.7, part[0], part[1])
        return (first < 0.6) * part[0], (second < 0.6 * ratio) * part[1]
    repeats = norm.cdf(hard * normal[:, :1] + np.sqrt(1 - hard**2) * draw.standard_normal((n, 5)))
    return (first < 0.6).astype(float), (repeats < 0.6 * ratio).mean(1)  # the mean of five models


def graded_coverage(kind: str, n: int, ratio: float, hard: float, studies: int) -> float:
    draw = np.random.default_rng(3)
    pairs = (graded(draw, kind, n, ratio, hard) for _ in range(studies))
    return rate(held(retention(base.tolist(), other.tolist()), ratio) for base, other in pairs)


@pytest.mark.parametrize(
    ("kind", "n", "ratio"),
    [("overlap", 50, 0.5), ("partial", 50, 0.02), ("partial", 50, 0.98), ("means", 50, 0.9), ("means", 300, 0.02)],
)
def test_graded_values_are_covered_too(kind: str, n: int, ratio: float) -> None:
    share = graded_coverage(kind, n, ratio, 0.9, 500)
    assert 0.93 - allowed(0.93, 500) <= share <= 0.985


def shared_coverage(n: int, ratios: tuple[float, ...], studies: int) -> float:
    draw = np.random.default_rng(4)
    tables = [draw.multinomial(n, table(0.6, ratio, 0.7), studies) for ratio in ratios]
    pairs_of_studies = ([answers(cells[study]) for cells in tables] for study in range(studies))
    return rate(held(shared(pairs), float(np.mean(ratios))) for pairs in pairs_of_studies)


@pytest.mark.parametrize("ratios", [(0.02, 0.02, 0.02), (0.98, 0.9, 0.5), (0.98, 0.98, 0.98)])
def test_the_mean_retention_over_tasks_is_covered(ratios: tuple[float, ...]) -> None:
    assert shared_coverage(100, ratios, 500) >= 0.93 - allowed(0.93, 500)


def regained_coverage(n: int, lost: float, back: float, studies: int) -> float:
    """Coverage for three models with correlated errors; the base model has accuracy .7."""
    draw = np.random.default_rng(5)
    normal = draw.standard_normal((studies, 3, n))
    normal = np.sqrt(0.7) * draw.standard_normal((studies, 1, n)) + np.sqrt(0.3) * normal
    right = [0.7, 0.7 - lost, 0.7 - lost + back * lost]
    values = (normal < norm.ppf(right)[:, None]).astype(float)
    return rate(held(regained(*study.tolist()), back) for study in values)


@pytest.mark.parametrize(("n", "lost", "back"), [(200, 0.5, 0.5), (200, 0.5, 0.98), (200, 0.3, 0.02), (50, 0.5, 0.5)])
def test_the_share_that_came_back_is_covered(n: int, lost: float, back: float) -> None:
    assert regained_coverage(n, lost, back, 500) >= 0.93 - allowed(0.93, 500)


def difference_coverage(n: int, accuracy: float, ratio: float, hard: float, studies: int) -> float:
    """Coverage of the paired difference in accuracy."""
    draws = np.random.default_rng(10).multinomial(n, table(accuracy, ratio, hard), studies)
    cells, times = np.unique(draws, axis=0, return_counts=True)
    outcomes = [held(difference([answers(cell)]), accuracy * (ratio - 1)) for cell in cells]
    return rate(outcome for outcome, count in zip(outcomes, times, strict=True) for _ in range(count))


@pytest.mark.parametrize(
    ("n", "accuracy", "ratio", "hard"),
    [(50, 0.6, 1.0, 0.95), (50, 0.9, 0.98, 0.7), (100, 0.3, 0.02, 0.3), (300, 0.6, 0.5, 0.7), (300, 0.9, 0.98, 0.95)],
)
def test_the_paired_difference_is_covered(n: int, accuracy: float, ratio: float, hard: float) -> None:
    share = difference_coverage(n, accuracy, ratio, hard, 800)
    assert 0.93 - allowed(0.93, 800) <= share <= 0.99 + allowed(0.97, 800)


@pytest.mark.parametrize("kind", ["overlap", "partial", "means"])
def test_the_difference_of_graded_values_is_covered(kind: str) -> None:
    draw = np.random.default_rng(11)
    pairs = [graded(draw, kind, 100, 0.9, 0.9) for _ in range(400)]
    truth = {"overlap": -0.1 * 0.25, "partial": -0.1 * 0.3, "means": -0.1 * 0.6}[kind]
    share = rate(held(difference([(base.tolist(), other.tolist())]), truth) for base, other in pairs)
    assert share >= 0.93 - allowed(0.93, 400)


def test_the_mean_difference_over_tasks_is_covered() -> None:
    draws = [np.random.default_rng(12).multinomial(100, table(0.6, ratio, 0.7), 400) for ratio in (0.98, 0.9, 0.5)]
    pairs = ([answers(cells[study]) for cells in draws] for study in range(400))
    truth = -0.6 * (0.02 + 0.1 + 0.5) / 3
    assert rate(held(difference(study), truth) for study in pairs) >= 0.93 - allowed(0.93, 400)


@pytest.mark.parametrize("kind", ["overlap", "partial"])
def test_the_sign_flip_test_raises_false_alarms_in_one_study_of_twenty_at_most(kind: str) -> None:
    draw = np.random.default_rng(13)
    pairs = [graded(draw, kind, 60, 1.0, 0.7) for _ in range(400)]
    alarms = np.mean([sign_flip(base.tolist(), other.tolist()) <= 0.05 for base, other in pairs])
    assert alarms <= 0.05 + allowed(0.05, 400)


def sampled_coverage(n: int, k: int, share: float, between: float, studies: int) -> float:
    """Coverage for k binary answers per item, with a beta-distributed accuracy per item."""
    draw = np.random.default_rng(6)
    size = 1 / between - 1
    chances = draw.beta(share * size, (1 - share) * size, (studies, n, 1))
    values = (draw.random((studies, n, k)) < chances).astype(float)
    return rate(held(sampled_mean(study.tolist()), share) for study in values)


@pytest.mark.parametrize(("share", "between"), [(0.5, 0.05), (0.5, 0.6), (0.05, 0.3), (0.95, 0.3)])
def test_sampled_answers_are_covered_whether_items_or_samples_vary(share: float, between: float) -> None:
    assert sampled_coverage(100, 4, share, between, 1000) >= 0.93 - allowed(0.93, 1000)


def test_answers_counted_as_if_of_unlike_items_would_not_be() -> None:
    draw = np.random.default_rng(6)
    chances = draw.beta(0.5 / 1.5, 0.5 / 1.5, (500, 100, 1))
    values = (draw.random((500, 100, 4)) < chances).astype(float)
    assert rate(held(mean(study.ravel().tolist()), 0.5) for study in values) < 0.85


def false_alarms(n: int, accuracy: float, hard: float, studies: int) -> float:
    """Number of studies in which McNemar's test rejects two equally good models at the 5% level."""
    draws = np.random.default_rng(7).multinomial(n, table(accuracy, 1.0, hard), studies)
    cells, times = np.unique(draws, axis=0, return_counts=True)
    return float(sum(count for cell, count in zip(cells, times, strict=True) if mcnemar(*answers(cell)).p <= 0.05))


@pytest.mark.parametrize(("n", "accuracy", "hard"), [(50, 0.5, 0.0), (300, 0.5, 0.7), (1000, 0.9, 0.3)])
def test_mcnemar_raises_false_alarms_in_one_study_of_twenty_at_most(n: int, accuracy: float, hard: float) -> None:
    assert false_alarms(n, accuracy, hard, 2000) / 2000 <= 0.05


def test_holm_holds_false_alarms_over_a_whole_sweep() -> None:
    # Twelve layers, none different from the base: without correction, four of ten sweeps would report a difference.
    draws = np.random.default_rng(8).multinomial(200, table(0.6, 1.0, 0.5), (300, 12))
    raw = np.array([[mcnemar(*answers(cell)).p for cell in sweep] for sweep in draws])
    assert (raw <= 0.05).any(1).mean() > 0.2
    assert np.mean([min(holm(sweep.tolist())) <= 0.05 for sweep in raw]) <= 0.05


def power(n: int, difference: float, accuracy: float, agreement: float, tests: int) -> float:
    """The fraction of studies that detect a difference; in the other tests of the family, nothing differs."""
    other = accuracy - difference
    both = accuracy * other + agreement * np.sqrt(accuracy * (1 - accuracy) * other * (1 - other))
    cells = [both, accuracy - both, other - both, 1 - accuracy - other + both]
    draw = np.random.default_rng(9)
    others = draw.uniform(size=(500, tests - 1)).tolist()
    studies = zip(draw.multinomial(n, cells, 500), others, strict=True)
    return float(np.mean([holm([mcnemar(*answers(cell)).p, *rest])[0] <= 0.05 for cell, rest in studies]))


@pytest.mark.parametrize(
    ("difference", "accuracy", "agreement", "tests"),
    [(0.05, 0.5, 0.0, 1), (0.1, 0.9, 0.0, 1), (0.1, 0.6, 0.5, 1), (0.1, 0.5, 0.0, 30), (0.1, 0.6, 0.5, 96)],
)
def test_the_items_asked_for_show_the_difference_in_four_of_five_studies(
    difference: float, accuracy: float, agreement: float, tests: int
) -> None:
    n = items_needed(difference, accuracy, agreement=agreement, tests=tests)
    assert 0.8 - allowed(0.8, 500) <= power(n, difference, accuracy, agreement, tests) <= 0.87
    if tests > 1:
        assert (
            power(items_needed(difference, accuracy, agreement=agreement), difference, accuracy, agreement, tests) < 0.5
        )


def _row(name: object, values: list[float]) -> None:
    print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |", flush=True)


def main(studies: int = 1500) -> None:
    """Print the minimum and maximum coverage of retention over accuracies and difficulties, and the other coverages."""
    for ratio, n in product(RATIOS, (50, 100, 300, 1000)):
        rates = [coverage(n, accuracy, ratio, hard, studies) for accuracy in ACCURACIES for hard in HARD]
        _row(f"retention {ratio}, n = {n}", [min(rates), max(rates)])
    for kind, n in product(("overlap", "partial", "means"), (50, 300)):
        _row(f"{kind}, n = {n}", [graded_coverage(kind, n, ratio, 0.9, studies // 4) for ratio in RATIOS])
    for ratios, n in product(((0.02,) * 6, (0.98,) * 6, (0.98, 0.9, 0.5)), (50, 100, 300)):
        _row(f"shared {ratios}, n = {n}", [shared_coverage(n, ratios, studies // 3)])
    for lost, n in product((0.1, 0.3, 0.6), (50, 200)):
        _row(f"regained of {lost}, n = {n}", [regained_coverage(n, lost, back, studies // 3) for back in RATIOS])
    for ratio, n in product((*RATIOS, 1.0), (50, 100, 300, 1000)):
        rates = [difference_coverage(n, accuracy, ratio, hard, studies) for accuracy in ACCURACIES for hard in HARD]
        _row(f"difference at retention {ratio}, n = {n}", [min(rates), max(rates)])
    for k, n in product((2, 16), (20, 100, 300)):
        settings = product((0.05, 0.5, 0.95), (0.05, 0.3, 0.8))
        _row(f"{k} samples, n = {n}", [sampled_coverage(n, k, *setting, studies // 3) for setting in settings])


if __name__ == "__main__":
    main()
