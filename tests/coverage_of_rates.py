"""Simulated coverage of the intervals of rates over documents, for docs/statistics.md. Not a test: takes a minute."""

import math

import numpy as np

from layerlimits.statistics.rates import rate

_SETS, _SIGMA, _MEAN, _SPREAD = 1000, 0.2, 0.1, 0.08


def main() -> None:
    """Print the number of documents, and the coverage of the loss per token and of the paired difference."""
    draw = np.random.default_rng(0)
    for n in (3, 5, 10, 20, 62, 100):
        loss = difference = 0
        for _ in range(_SETS):
            sizes, each = draw.lognormal(6, 0.8, n), draw.lognormal(1, _SIGMA, n)
            figure = rate((sizes * each).tolist(), sizes.tolist())
            loss += figure.low <= math.exp(1 + _SIGMA**2 / 2) <= figure.high
            more = draw.normal(_MEAN, _SPREAD, n)
            figure = rate((sizes * more).tolist(), sizes.tolist())
            difference += figure.low <= _MEAN <= figure.high
        print(n, loss / _SETS, difference / _SETS, flush=True)


if __name__ == "__main__":
    main()
