"""A race evaluates fewer items and selects the same candidate as a full evaluation."""

import numpy as np
import pytest

from layerlimits.methods._race import MAX_PARTS, _chance, parts_of, race

ITEMS = 96


def field(shares: list[float], seed: int) -> np.ndarray:
    """Binary values of candidates with the given accuracies, on items of different difficulty: (candidates, items)."""
    draw = np.random.default_rng(seed)
    hardness = draw.random(ITEMS)
    noise = draw.normal(0, 0.15, (len(shares), ITEMS))
    return (hardness + noise < np.array(shares)[:, None]).astype(float)


def run(values: np.ndarray, error: float) -> tuple[list[float], list[int]]:
    parts = np.array_split(np.arange(values.shape[1]), MAX_PARTS)
    return race(len(values), lambda running, part: values[np.ix_(running, parts[part])], MAX_PARTS, error)


def test_a_look_is_worth_a_batch() -> None:
    assert [parts_of(items) for items in (1, 23, 24, 32, 48, 1000)] == [1, 1, 2, 2, 4, 4]
    values = field([0.9, 0.1], 0)
    assert race(2, lambda running, part: values[running], 1, 0.05) == (values.sum(1).tolist(), [1, 1])


def test_without_error_everything_is_asked() -> None:
    values = field([0.9, 0.5, 0.0], 1)
    sums, asked = run(values, 0.0)
    assert asked == [MAX_PARTS] * 3
    assert sums == pytest.approx(values.sum(1).tolist())


def test_hopeless_candidates_are_dropped_and_stay_behind() -> None:
    values = field([0.9, 0.88, 0.5, 0.05, 0.0], 2)
    sums, asked = run(values, 0.05)
    assert asked[:2] == [MAX_PARTS, MAX_PARTS]
    assert max(asked[3:]) < MAX_PARTS
    assert int(np.argmax(sums)) == int(np.argmax(values.sum(1)))
    assert max(sums[2:]) < max(sums[:2])


def test_the_winner_of_all_items_is_dropped_seldom_and_never_by_much() -> None:
    missed, costs = 0, []
    for seed in range(400):
        # Equal candidates are the hardest case.
        values = field([0.8] * 6 + [0.2] * 5, seed)
        sums, _ = run(values, 0.05)
        whole = values.sum(1)
        picked = int(np.argmax(sums))
        missed += whole[picked] < whole.max()
        costs.append(whole.max() - whole[picked])
    assert missed <= 0.05 * 400
    assert max(costs) <= 3


def test_a_candidate_far_ahead_at_first_can_be_overtaken_by_none_that_was_dropped() -> None:
    values = np.zeros((2, ITEMS))
    values[0, : ITEMS // 2] = 1
    values[1, ITEMS // 2 :] = 1
    sums, asked = run(values, 0.05)
    # Behind by 48 items halfway: dropped, although the remaining items would have made it equal. The error bounds how
    # often this happens for items in random order; here they are sorted.
    assert asked == [MAX_PARTS, 1]
    assert sums[1] < sums[0]


def test_the_bound_is_above_the_exact_chance_and_close_to_it() -> None:
    sizes = np.array([1.0] * 9 + [0.5] * 5)
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(sizes))).reshape(len(sizes), -1)
    sums = signs.T @ sizes
    for ahead in (3.0, 6.0, 9.0, 11.5):
        exact, bound = (sums >= ahead - 1e-9).mean(), np.exp(_chance(ahead, sizes))
        assert exact <= bound * (1 + 1e-9) <= 8 * exact
    # All of one sign: as rare as that many heads in a row.
    assert _chance(10.0, np.ones(10)) == pytest.approx(-10 * np.log(2), rel=1e-6)
