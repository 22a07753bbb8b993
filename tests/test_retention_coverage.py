"""Coverage of the 95% interval of retention by the unpruned model's accuracy, for tasks and for means over tasks.

`python tests/test_retention_coverage.py` prints the tables of docs/statistics.md (some minutes).
"""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
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
    bases: Sequence[float], ratio: float, hard: float, n: int, studies: int, chance: float = 0.0
) -> tuple[float, float]:
    """(coverage of the mean retention over tasks, fraction of the studies with enough items), by simulation.

    The coverage is that over the studies with enough items; NaN if there are none.
    """
    draws = [
        np.random.default_rng((20, task)).multinomial(n, table(base, ratio, hard), studies)
        for task, base in enumerate(bases)
    ]
    outcomes = list(_outcomes(draws, [(base * ratio - chance) / (base - chance) for base in bases], chance))
    return (float(np.mean(outcomes)) if outcomes else float("nan")), len(outcomes) / studies


def _outcomes(draws: Sequence[NDArray[np.int64]], truths: Sequence[float], chance: float) -> Iterator[bool]:
    """Whether the interval holds the truth, of every study with enough items on all tasks."""
    known: dict[bytes, bool] = {}
    for study in np.stack(draws, axis=1):
        pairs = [answers(cells) for cells in study]
        if not all(enough_items(mean(base), chance) for base, _ in pairs):
            continue
        key = study.tobytes()
        if key not in known:
            known[key] = bool(held(shared(pairs, chance), float(np.mean(truths))))
        yield known[key]


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


def summary(bases: Sequence[float], n: int, studies: int, chance: float = 0.0) -> str:
    """Lowest and highest coverage over retentions and difficulties, or that there are too few items."""
    rates = [coverage(bases, ratio, hard, n, studies, chance) for ratio, hard in product(RATIOS, HARD)]
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
