"""Coverage of the 95% interval of retention by the unpruned model's accuracy, for tasks and for means over tasks.

`python tests/test_retention_coverage.py` prints the tables of docs/statistics.md (some minutes).
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from test_stats_coverage import allowed, answers, held, table

from layerlimits.statistics.intervals import enough_items, mean, shared

BASES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.95)
RATIOS = (1.0, 0.9, 0.5, 0.1)
# Correlation of the latent difficulty of items between the two models.
HARD = (0.3, 0.95)
ITEMS = (15, 30, 100, 300)
# Accuracies of the unpruned model on the tasks of a class.
CLASSES = (
    (0.1, 0.4, 0.7, 0.9),
    (0.05, 0.9),
    (0.1, 0.1, 0.1, 0.1),
    (0.2, 0.2, 0.2, 0.2, 0.2, 0.2),
    (0.05, 0.05, 0.9, 0.9, 0.9, 0.9),
    (0.3, 0.3, 0.6, 0.6, 0.9, 0.9),
)


def coverage(
    bases: Sequence[float], ratio: float, hard: float, n: int, studies: int, *, all_count: bool = False
) -> tuple[float, float]:
    """(coverage of the mean retention over tasks, fraction of the studies with enough items), by simulation.

    The coverage is that over the studies with enough items, or over all with `all_count`; NaN if there are none.
    """
    draws = [
        np.random.default_rng((20, task)).multinomial(n, table(base, ratio, hard), studies)
        for task, base in enumerate(bases)
    ]
    known: dict[bytes, bool] = {}
    outcomes, enough = [], 0
    for study in np.stack(draws, axis=1):
        pairs = [answers(cells) for cells in study]
        measured = all(enough_items(mean(base)) for base, _ in pairs)
        enough += measured
        if measured or all_count:
            key = study.tobytes()
            if key not in known:
                known[key] = bool(held(shared(pairs), ratio))
            outcomes.append(known[key])
    return (float(np.mean(outcomes)) if outcomes else float("nan")), enough / studies


@pytest.mark.parametrize(
    ("bases", "ratio", "hard", "n"),
    [
        ((0.05,), 0.98, 0.95, 300),
        ((0.2,), 1.0, 0.3, 100),
        ((0.5,), 0.9, 0.7, 30),
        ((0.95,), 0.98, 0.95, 30),
        ((0.1, 0.4, 0.7, 0.9), 0.98, 0.95, 200),
        ((0.05, 0.05, 0.9, 0.9, 0.9, 0.9), 0.5, 0.7, 400),
        ((0.2,) * 6, 0.5, 0.3, 100),
    ],
)
def test_the_interval_holds_the_truth_where_there_are_enough_items(
    bases: tuple[float, ...], ratio: float, hard: float, n: int
) -> None:
    share, measured = coverage(bases, ratio, hard, n, 300)
    assert measured >= 0.9
    assert share >= 0.93 - allowed(0.93, 300)


@pytest.mark.parametrize("hard", HARD)
def test_a_weak_task_does_not_spoil_the_interval_of_a_mean(hard: float) -> None:
    # .893 before, when each task had the same part of the pseudo-items.
    share, measured = coverage((0.1, 0.4, 0.7, 0.9), 0.98, hard, 100, 500, all_count=True)
    assert share >= 0.93 - allowed(0.93, 500) / 2
    # With 10 right answers expected, about half of the studies have too few.
    assert 0.3 < measured < 0.7


def summary(bases: Sequence[float], n: int, studies: int) -> str:
    """Lowest and highest coverage over retentions and difficulties, or that there are too few items."""
    rates = [coverage(bases, ratio, hard, n, studies) for ratio, hard in product(RATIOS, HARD)]
    if min(measured for _, measured in rates) < 0.9:
        return "n too small"
    shares = [share for share, _ in rates]
    return f"{min(shares):.3f} to {max(shares):.3f}"


def main(studies: int = 500) -> None:
    """Print the tables."""
    print(f"| base accuracy | {' | '.join(f'n = {n}' for n in ITEMS)} |\n{'|---' * (len(ITEMS) + 1)}|")
    for base in BASES:
        print(f"| {base} | {' | '.join(summary((base,), n, studies) for n in ITEMS)} |", flush=True)
    print(f"\n| base accuracies | {' | '.join(f'n = {n}' for n in ITEMS)} |\n{'|---' * (len(ITEMS) + 1)}|")
    for bases in CLASSES:
        name = ", ".join(map(str, bases))
        print(f"| {name} | {' | '.join(summary(bases, n, studies) for n in ITEMS)} |", flush=True)


if __name__ == "__main__":
    main()
