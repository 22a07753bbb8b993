"""Intervals and tests against independent computations; their coverage is in test_stats_coverage.py."""

import numpy as np
import pytest
from scipy.stats import beta, binomtest, norm

from layerlimits.statistics.intervals import difference, gap_closed, mean, regained, retention, sampled_mean, shared
from layerlimits.statistics.significance import holm, items_needed, low_power, mcnemar, sign_flip
from layerlimits.types import Estimate


def test_rates_have_wilsons_interval() -> None:
    interval = mean([1.0] * 7 + [0.0] * 3)
    z, p, n = norm.ppf(0.975), 0.7, 10
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert interval.low == pytest.approx((middle - half) / (1 + z * z / n))
    assert interval.high == pytest.approx((middle + half) / (1 + z * z / n))
    assert (interval.estimate, interval.n) == (0.7, 10)


def test_other_values_have_the_bootstraps() -> None:
    values = np.random.default_rng(1).random(400)
    interval = mean(values.tolist())
    error = 1.96 * values.std() / np.sqrt(len(values))
    assert interval.low == pytest.approx(values.mean() - error, abs=0.2 * error)
    assert interval.high == pytest.approx(values.mean() + error, abs=0.2 * error)


def test_retention_is_a_paired_ratio_with_chance_taken_off() -> None:
    base, other = [1.0] * 8 + [0.0] * 2, [1.0] * 4 + [0.0] * 6
    raw, above = retention(base, other), retention(base, other, 0.25)
    assert raw is not None
    assert above is not None
    assert raw.estimate == pytest.approx(0.5)
    assert above.estimate == pytest.approx(0.15 / 0.55)
    assert raw.low < raw.estimate < raw.high


def test_pairing_narrows_the_interval() -> None:
    rng = np.random.default_rng(2)
    base = (rng.random(300) < 0.5).astype(float)
    same, shuffled = base.copy(), rng.permutation(base)
    same[:10] = 0
    paired, apart = retention(base.tolist(), same.tolist()), retention(base.tolist(), shuffled.tolist())
    assert paired is not None
    assert apart is not None
    assert paired.high - paired.low < 0.4 * (apart.high - apart.low)


def test_a_model_that_gets_nothing_right_is_still_uncertain() -> None:
    interval = retention([1.0] * 20, [0.0] * 20)
    assert interval is not None
    assert interval.estimate == interval.low == 0
    # Between the exact one-sided and two-sided upper bounds on 0 of 20.
    assert 1 - 0.05 ** (1 / 20) < interval.high < 1 - 0.025 ** (1 / 20)


def test_nothing_can_be_retained_of_a_base_at_chance() -> None:
    assert retention([0.0] * 5, [1.0] * 5) is None
    assert retention([1.0, 0.0, 0.0, 0.0], [1.0] * 4, 0.25) is None


def test_tasks_count_equally_and_those_at_chance_not_at_all() -> None:
    pairs = [([1.0] * 10, [1.0] * 10), ([1.0] * 90, [0.0] * 90), ([0.0] * 10, [0.0] * 10)]
    interval = shared(pairs)
    assert interval is not None
    assert interval.estimate == pytest.approx(0.5)
    assert interval.n == 100


def test_the_share_of_a_loss_that_came_back() -> None:
    base, pruned, again = [1.0] * 40, [1.0] * 10 + [0.0] * 30, [1.0] * 25 + [0.0] * 15
    interval = regained(base, pruned, again)
    assert interval is not None
    assert interval.estimate == pytest.approx(0.5)
    assert interval.low < 0.5 < interval.high
    assert regained(base, base, again) is None


def test_where_much_varies_the_interval_of_retention_is_the_usual_one_of_the_log_ratio() -> None:
    # Both right, only the base, only the other, neither: the delta method for paired proportions.
    both, lost, won, neither = 300, 250, 60, 390
    base = [1.0] * (both + lost) + [0.0] * (won + neither)
    other = [1.0] * both + [0.0] * lost + [1.0] * won + [0.0] * neither
    interval = retention(base, other)
    assert interval is not None
    error = 1.96 * np.sqrt((lost + won) / ((both + won) * (both + lost)))
    assert np.log(interval.low) == pytest.approx(np.log(interval.estimate) - error, abs=0.06 * error)
    assert np.log(interval.high) == pytest.approx(np.log(interval.estimate) + error, abs=0.06 * error)


def test_a_model_that_loses_nothing_may_still_lose_something() -> None:
    interval = retention([1.0] * 40 + [0.0] * 10, [1.0] * 40 + [0.0] * 10)
    assert interval is not None
    assert interval.low < interval.estimate == 1 < interval.high
    # Half a pseudo-item lost among 41 that either model gets right.
    assert interval.low == pytest.approx(beta(40.25, 0.5).ppf(0.025), abs=0.02)


def test_the_same_values_have_the_same_interval_in_any_order_and_graded_ones_always() -> None:
    rng = np.random.default_rng(3)
    base, other = (rng.random((2, 200)) < [[0.7], [0.5]]).astype(float)
    order = rng.permutation(200)
    assert retention(base.tolist(), other.tolist()) == retention(base[order], other[order])
    graded = (base * 0.9).tolist(), (other * 0.7).tolist()
    assert retention(*graded) == retention(*graded)


def test_retention_of_graded_values_scales_with_them() -> None:
    rng = np.random.default_rng(4)
    base, other = rng.random((2, 300)) * [[1.0], [0.5]]
    interval, halved = (retention(base * scale, other * scale) for scale in (1, 0.5))
    assert interval is not None
    assert halved is not None
    assert (interval.low, interval.high) == pytest.approx((halved.low, halved.high), rel=1e-4)


def test_a_base_not_surely_above_chance_has_nothing_to_retain() -> None:
    other = [1.0] * 30 + [0.0] * 70
    # 30 of 100 may be guessing at a chance of .25, 40 of 100 are not.
    assert retention(other, other, 0.25) is None
    interval = retention([1.0] * 40 + [0.0] * 60, other, 0.25)
    assert interval is not None
    assert interval.estimate == pytest.approx(1 / 3)


def test_retention_needs_as_many_values_of_either_model() -> None:
    with pytest.raises(ValueError, match="shape"):
        retention([1.0] * 5, [1.0] * 4)


def test_one_task_shares_what_it_retains() -> None:
    base, other = [1.0] * 30 + [0.0] * 10, [1.0] * 20 + [0.0] * 20
    assert shared([(base, other)]) == retention(base, other)


def test_tasks_are_independent_however_their_items_are_sorted() -> None:
    pair = [0.9] * 60 + [0.0] * 40, [0.8] * 40 + [0.0] * 60
    single, four = shared([pair]), shared([pair] * 4)
    assert single is not None
    assert four is not None
    assert four.high - four.low == pytest.approx((single.high - single.low) / 2, rel=0.1)


def test_one_sample_an_item_is_a_plain_mean() -> None:
    values = [1.0] * 7 + [0.0] * 13
    assert sampled_mean([[value] for value in values]) == mean(values)


def test_samples_that_only_repeat_the_item_add_nothing_and_independent_ones_all() -> None:
    same = sampled_mean([[1.0] * 5] * 50 + [[0.0] * 5] * 50)
    plain = mean([1.0] * 50 + [0.0] * 50)
    assert (same.low, same.high, same.n) == pytest.approx((plain.low, plain.high, 100), abs=0.001)
    free = sampled_mean((np.random.default_rng(5).random((400, 5)) < 0.5).astype(float).tolist())
    assert free.high - free.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(2000), rel=0.1)


def test_samples_are_items_by_answers() -> None:
    for values in ([], [1.0, 0.0], [[1.0], [1.0, 0.0]]):
        with pytest.raises(ValueError):
            sampled_mean(values)  # type: ignore[arg-type]  # wrong on purpose


def test_mcnemar_is_the_exact_two_sided_binomial_test() -> None:
    for lost, won in ((0, 0), (5, 0), (12, 4), (7, 7), (900, 800), (0, 3000)):
        base = [1.0] * lost + [0.0] * won + [1.0, 0.0]
        other = [0.0] * lost + [1.0] * won + [1.0, 0.0]
        result = mcnemar(base, other)
        assert (result.b, result.c, result.n) == (lost, won, lost + won + 2)
        expected = binomtest(lost, lost + won).pvalue if lost + won else 1.0
        assert result.p == pytest.approx(expected, rel=1e-6)


def test_mcnemar_refuses_what_is_not_right_or_wrong() -> None:
    with pytest.raises(ValueError, match="binary values"):
        mcnemar([0.5], [1.0])
    with pytest.raises(ValueError):
        mcnemar([1.0, 0.0], [1.0])


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_fewer_items_do_where_the_models_agree_and_more_where_the_difference_is_small() -> None:
    # (1.95996 sqrt(.5) + .84162 sqrt(.5 - .0025))^2 / .0025 = 1567.4, and 2 / .05 for the continuity correction.
    assert items_needed(0.05) == 1608
    assert items_needed(0.05, agreement=0.5) < items_needed(0.05) < items_needed(0.025) < items_needed(0.025, power=0.9)
    assert items_needed(0.05, 0.02) == items_needed(0.05, 0.07)
    assert items_needed(0.05) < items_needed(0.05, tests=30) < items_needed(0.05, tests=96)


@pytest.mark.parametrize(("difference", "accuracy"), [(0.0, 0.5), (-0.1, 0.5), (0.6, 0.5), (0.1, 1.2)])
def test_no_number_of_items_shows_an_impossible_difference(difference: float, accuracy: float) -> None:
    with pytest.raises(ValueError, match="differs"):
        items_needed(difference, accuracy)


def test_too_few_items_are_told_and_how_many_would_do() -> None:
    half = Estimate(0.5, 0.4, 0.6, 100)
    assert low_power(100, 0.05, half) == "n = 100 is too small to detect a 5-point difference with 80% power; use 1,700"
    assert low_power(1, 0.01, half) == "n = 1 is too small to detect a 1-point difference with 80% power; use 40,000"
    assert low_power(1608, 0.05, half) is None
    assert low_power(1608, 0.05, half, tests=30) == (
        "n = 1,608 is too small to detect a 5-point difference with 80% power in one of 30 tests (Holm); use 3,300"
    )


def test_the_advice_allows_for_the_interval_of_the_score() -> None:
    # The accuracy behind 0 of 15 may be .2; a score of 0 of 1,500 is known better.
    few, many = mean([0.0] * 15), mean([0.0] * 1500)
    assert few.high == pytest.approx(0.204, abs=0.001)
    assert low_power(15, 0.05, few) == low_power(15, 0.05, Estimate(few.high, few.high, few.high, 15))
    needed = items_needed(0.05, many.high)
    assert low_power(needed, 0.05, many) is None
    assert low_power(needed, 0.05, few) is not None


def test_a_difference_is_paired_and_has_the_sign_of_the_second() -> None:
    base, other = [1.0] * 60 + [0.0] * 40, [1.0] * 50 + [0.0] * 50
    paired = difference([(base, other)])
    assert (paired.estimate, paired.n) == (pytest.approx(-0.1), 100)
    assert paired.low < -0.1 < paired.high < 0
    apart = difference([(base, other[::-1])])
    assert apart.estimate == pytest.approx(-0.1)
    assert apart.high - apart.low > 2 * (paired.high - paired.low)
    # The interval of 10 discordant pairs, all in one direction, is close to Wald's with a pseudo-item.
    assert paired.high - paired.low == pytest.approx(
        2 * 1.96 * np.sqrt((10.5 / 101) * (1 - 10.5 / 101) / 101), rel=0.15
    )
    backwards = difference([(other, base)])
    assert (backwards.low, backwards.high) == (
        pytest.approx(-paired.high, abs=0.01),
        pytest.approx(-paired.low, abs=0.01),
    )


def test_the_mean_difference_over_tasks_counts_tasks_equally() -> None:
    small, large = ([1.0] * 20, [0.0] * 20), ([1.0] * 200, [1.0] * 200)
    both = difference([small, large])
    assert (both.estimate, both.n) == (-0.5, 220)
    with pytest.raises(ValueError):
        difference([])


def test_the_gap_closed_of_a_class_is_that_of_the_mean_scores() -> None:
    lost = ([1.0] * 100, [1.0] * 40 + [0.0] * 60, [1.0] * 70 + [0.0] * 30)
    kept = ([1.0] * 100, [1.0] * 100, [1.0] * 100)
    alone, together = gap_closed([lost]), gap_closed([lost, kept])
    assert alone is not None
    assert together is not None
    assert alone == regained(*lost)
    assert together.estimate == pytest.approx(0.5)
    assert together.n == 200
    assert gap_closed([kept]) is None
    worse = gap_closed([(lost[0], lost[2], lost[1])])
    assert worse is not None
    assert worse.estimate == pytest.approx(-1)
    assert worse.high < 0


def test_the_sign_flip_test_agrees_with_the_exact_one() -> None:
    base = [0.0] * 10
    other = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, -0.05, -0.15]
    signs = np.array(np.meshgrid(*[[-1, 1]] * 10)).reshape(10, -1).T
    exact = float(np.mean(np.abs(signs @ other) >= abs(sum(other)) - 1e-9))
    assert sign_flip(base, other) == pytest.approx(exact, abs=0.005)
    assert sign_flip(other, base) == sign_flip(base, other)
    assert sign_flip(base, base) == 1
    with pytest.raises(ValueError):
        sign_flip(base, [0.0])
