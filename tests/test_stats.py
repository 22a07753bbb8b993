"""Intervals against independent computations."""

import numpy as np
import pytest
from scipy.stats import norm

from layerlimits.stats import mean, regained, retention, shared


def test_rates_have_wilsons_interval() -> None:
    found = mean("rate", [1.0] * 7 + [0.0] * 3)
    z, p, n = norm.ppf(0.975), 0.7, 10
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert found.low == pytest.approx((middle - half) / (1 + z * z / n))
    assert found.high == pytest.approx((middle + half) / (1 + z * z / n))
    assert (found.estimate, found.n) == (0.7, 10)


def test_other_values_have_the_bootstraps() -> None:
    values = np.random.default_rng(1).random(400)
    found = mean("score", values.tolist())
    error = 1.96 * values.std() / np.sqrt(len(values))
    assert found.low == pytest.approx(values.mean() - error, abs=0.2 * error)
    assert found.high == pytest.approx(values.mean() + error, abs=0.2 * error)


def test_retention_is_a_paired_ratio_with_chance_taken_off() -> None:
    base, other = [1.0] * 8 + [0.0] * 2, [1.0] * 4 + [0.0] * 6
    raw, above = retention("kept", base, other), retention("kept", base, other, 0.25)
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
    paired, apart = retention("kept", base.tolist(), same.tolist()), retention("kept", base.tolist(), shuffled.tolist())
    assert paired is not None
    assert apart is not None
    assert paired.high - paired.low < 0.4 * (apart.high - apart.low)


def test_a_model_that_gets_nothing_right_is_still_uncertain() -> None:
    found = retention("kept", [1.0] * 20, [0.0] * 20)
    assert found is not None
    assert found.estimate == found.low == 0
    # Wilson's upper bound on 0 of 20.
    assert found.high == pytest.approx(0.161, abs=0.005)


def test_nothing_can_be_retained_of_a_base_at_chance() -> None:
    assert retention("kept", [0.0] * 5, [1.0] * 5) is None
    assert retention("kept", [1.0, 0.0, 0.0, 0.0], [1.0] * 4, 0.25) is None


def test_tasks_count_equally_and_those_at_chance_not_at_all() -> None:
    pairs = [([1.0] * 10, [1.0] * 10), ([1.0] * 90, [0.0] * 90), ([0.0] * 10, [0.0] * 10)]
    found = shared("kept", pairs)
    assert found is not None
    assert found.estimate == pytest.approx(0.5)
    assert found.n == 100


def test_the_share_of_a_loss_that_came_back() -> None:
    base, pruned, again = [1.0] * 40, [1.0] * 10 + [0.0] * 30, [1.0] * 25 + [0.0] * 15
    found = regained("back", base, pruned, again)
    assert found is not None
    assert found.estimate == pytest.approx(0.5)
    assert found.low < 0.5 < found.high
    assert regained("back", base, base, again) is None
