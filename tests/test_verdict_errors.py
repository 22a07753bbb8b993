"""How often a verdict promises what is not true, and how often it finds what is, by simulated studies.

`python tests/test_verdict_errors.py` prints the tables of docs/statistics.md. The studies have known truth: items with
a latent difficulty that all models share, and models whose true retention is given. The decision is the one of `gate`.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from layerlimits.results.candidates import PairedValues
from layerlimits.results.judging import measured, passing
from layerlimits.results.requirements import Requirement

Values = NDArray[np.float64]
# Of 2,000 studies at an error of .05, so many standard errors above it.
ALLOWED = 0.064
STUDIES = 2000


@dataclass(frozen=True)
class Truth:
    """A kind of study: for each class, what the models truly retain.

    Args:
        retentions: True retention of each model, for each requirement.
        accuracies: Accuracy of the unpruned model on each task of a class.
        n: Items per task.
        chance: Score of random guessing.
        threshold: The required retention.
        hard: Correlation of the models' latent answers: how much they agree on which items are hard.
    """

    retentions: Sequence[Sequence[float]]
    accuracies: Sequence[float] = (0.6, 0.8)
    n: int = 100
    chance: float = 0.0
    threshold: float = 0.9
    hard: float = 0.7

    def met(self, model: int) -> bool:
        """Whether a model truly meets every requirement."""
        return all(retained[model] >= self.threshold for retained in self.retentions)


def answers(draw: np.random.Generator, truth: Truth, accuracy: float, retained: Sequence[float]) -> Values:
    """Binary values of the unpruned model and the others on the items of a task, (1 + models, n)."""
    rates = [accuracy, *(truth.chance + share * (accuracy - truth.chance) for share in retained)]
    hardness = draw.standard_normal(truth.n)
    own = draw.standard_normal((len(rates), truth.n))
    latent = np.sqrt(truth.hard) * hardness + np.sqrt(1 - truth.hard) * own
    return (latent < norm.ppf(rates)[:, None]).astype(float)


def passed_in(draw: np.random.Generator, truth: Truth, error: float = 0.05) -> list[int]:
    """The models that pass in one simulated study."""
    count = len(truth.retentions[0])
    requirements = [Requirement(f"class {number}", truth.threshold, error) for number in range(len(truth.retentions))]
    classes = [[answers(draw, truth, rate, retained) for rate in truth.accuracies] for retained in truth.retentions]
    models = {
        str(model): [
            measured(
                [PairedValues("task", truth.chance, values[0], values[1 + model]) for values in tasks], error / count
            )
            for tasks in classes
        ]
        for model in range(count)
    }
    return sorted(map(int, passing(requirements, models)[0]))


def rates(truth: Truth, studies: int, seed: int = 1) -> tuple[float, float]:
    """Fractions of studies in which a model passes that should not, and in which one passes that should."""
    false = true = 0
    for study in range(studies):
        passed = passed_in(np.random.default_rng((seed, study)), truth)
        false += any(not truth.met(model) for model in passed)
        true += any(truth.met(model) for model in passed)
    return false / studies, true / studies


# Just below the threshold of .9: the worst case.
SHORT = 0.899
# Two classes of which the first is kept by all models, and the second by none.
ONE_OF_TWO = [[1.0] * 6, [SHORT] * 6]
KINDS: dict[str, Truth] = {
    "one model, 48 items": Truth([[SHORT]], n=48),
    "one model, one accurate task, 48 items": Truth([[SHORT]], (0.9,), 48, hard=0.95),
    "one model, one accurate task, 200 items": Truth([[SHORT]], (0.9,), 200, hard=0.95),
    "12 equal models, 48 items": Truth([[SHORT] * 12], n=48),
    "12 equal models, 200 items": Truth([[SHORT] * 12], n=200),
    "12 equal models, one accurate task, 48 items": Truth([[SHORT] * 12], (0.9,), 48, hard=0.95),
    "30 equal models, 200 items": Truth([[SHORT] * 30], n=200),
    "12 equal models, multiple choice, 200 items": Truth([[SHORT] * 12], (0.55, 0.8), 200, 0.25),
    "6 that keep it and 6 just below, 200 items": Truth([[0.98] * 6 + [SHORT] * 6], n=200),
    "6 models, one of two classes kept, 200 items": Truth(ONE_OF_TWO, n=200),
    "12 finetuned models, threshold 1.05, 200 items": Truth([[1.049] * 12], (0.5, 0.7), 200, threshold=1.05),
}


@pytest.mark.parametrize("name", ["one model, 48 items", "12 equal models, 48 items"])
def test_a_verdict_seldom_promises_what_is_not_kept(name: str) -> None:
    studies = 200
    error = rates(KINDS[name], studies)[0]
    assert error <= 0.05 + 2.9 * np.sqrt(0.05 * 0.95 / studies)


def test_without_the_correction_the_best_of_equal_models_would_pass_often() -> None:
    """The simulation can fail: with the error of a single model, the best by chance passes in most studies."""
    truth, studies = KINDS["12 equal models, 48 items"], 60
    passed = [passed_in(np.random.default_rng((1, study)), truth, 0.05 * 12) for study in range(studies)]
    assert sum(map(bool, passed)) / studies > 0.2


def test_with_enough_items_a_model_that_keeps_it_passes() -> None:
    truth = Truth([[0.98, 0.5, 0.5, 0.5]], n=1600)
    assert rates(truth, 20) == (0.0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_false_promises_in_every_kind_of_study(name: str) -> None:
    assert rates(KINDS[name], STUDIES)[0] <= ALLOWED


ITEMS, MODELS, TRUE = (50, 100, 200, 400, 800, 1600), (1, 12, 30), (0.95, 0.98, 1.0)


def power_rows(studies: int) -> Iterator[str]:
    """Rows of the table of power: one model keeps what is asked, and the others clearly do not."""
    for models in MODELS:
        for retained in TRUE:
            cells = [rates(Truth([[retained] + [0.6] * (models - 1)], n=n), studies)[1] for n in ITEMS]
            yield f"| {models} | {retained:.2f} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |"


def main() -> None:
    """Print the tables of docs/statistics.md; an argument sets the number of studies."""
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else STUDIES
    print("| study | false promises |\n|---|---|")
    for name, truth in KINDS.items():
        print(f"| {name} | {rates(truth, studies)[0]:.4f} |", flush=True)
    print("\n| models | true retention | " + " | ".join(f"n = {n}" for n in ITEMS) + " |")
    print("|---|---|" + "---|" * len(ITEMS))
    for row in power_rows(max(20, studies // 10)):
        print(row, flush=True)


if __name__ == "__main__":
    main()
