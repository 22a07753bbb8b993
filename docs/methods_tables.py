"""Print the tables of docs/methods.md from the run folder of the study defined in docs/methods.toml.

python docs/methods_tables.py runs/methods
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from layerlimits.evaluation.artifacts import Artifacts, TaskRecord
from layerlimits.evaluation.store import Store
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.statistics import intervals

COUNTS = (1, 2, 4, 6)
RANDOM = "random"
KINDS = {
    "generation": "Generation: retention, mean of six tasks",
    "choice": "Choice by likelihood: chance-corrected retention, mean of two tasks",
}

Pairs = list[tuple[Sequence[float], Sequence[float]]]


class Results:
    """Per-item scores of each method's pruned models; random is the mean over its seeds."""

    def __init__(self, answers: StoredAnswers) -> None:
        self._answers, self._whole = answers, answers.fingerprint(())
        self.plans: dict[tuple[str, int], list[list[int]]] = {}
        for plan in Artifacts(answers.store).plans:
            name = RANDOM if plan["method"].startswith(RANDOM) else plan["method"]
            self.plans.setdefault((name, plan["layers"]), []).append(plan["removed"])
        self.methods = list(dict.fromkeys(name for name, _ in self.plans))

    def pairs(self, method: str, count: int, kind: str) -> tuple[Pairs, float]:
        """(unpruned values, pruned values) per task, and the accuracy of guessing."""
        tasks = [task for task in self._answers.tasks if task["kind"] == kind]
        pairs = []
        for task in tasks:
            models = [self._values(removed, task) for removed in self.plans[method, count]]
            pairs.append((self._values((), task), np.mean(models, axis=0).tolist()))
        return pairs, max(task["chance"] for task in tasks)

    def _values(self, removed: Sequence[int], task: TaskRecord) -> list[float]:
        values = self._answers.values(self._answers.fingerprint(removed), task)
        if values is None:
            raise SystemExit(f"the study is not finished: no answers for {task['name']} without layers {list(removed)}")
        return values


def ahead(method: Pairs, random: Pairs, chance: float) -> float:
    """The bound of the 95% interval of the difference in retention that is closer to 0; 0 if the interval contains 0.

    The difference is bootstrapped over items, with the same items for both.
    """
    draw = np.random.default_rng(0)
    differences = np.zeros(2000)
    for (base, mine), (_, other) in zip(method, random, strict=True):
        items = draw.integers(0, len(base), (2000, len(base)))
        scale = np.mean(base) - chance
        differences += (np.asarray(mine)[items].mean(1) - np.asarray(other)[items].mean(1)) / scale / len(method)
    low, high = np.percentile(differences, (2.5, 97.5))
    return float(low) if low > 0 else float(high) if high < 0 else 0.0


def cell(results: Results, method: str, count: int, kind: str) -> str:
    """Retention with its interval; bold if it is above random, in brackets if it is below."""
    pairs, chance = results.pairs(method, count, kind)
    retained = intervals.shared(pairs, chance)
    if retained is None:
        return "not measurable"
    text = f"{retained.estimate:.2f} ({retained.low:.2f} to {retained.high:.2f})"
    if method == RANDOM:
        return text
    lead = ahead(pairs, results.pairs(RANDOM, count, kind)[0], chance)
    return f"**{text}**" if lead > 0 else f"[{text}]" if lead < 0 else text


def main() -> None:
    """Print both score tables and the table of removed layers."""
    with Store(Path(sys.argv[1])) as store:
        results = Results(StoredAnswers.of_study(store))
        for kind, title in KINDS.items():
            print(f"### {title}\n\n| method | " + " | ".join(f"{count} of 12" for count in COUNTS) + " |")
            print("|---" * (len(COUNTS) + 1) + "|")
            for method in results.methods:
                name = "random (mean of 5 seeds)" if method == RANDOM else f"`{method}`"
                print(f"| {name} | " + " | ".join(cell(results, method, count, kind) for count in COUNTS) + " |")
            print()
        print("### Removed layers\n\n| method | " + " | ".join(f"{count}" for count in COUNTS) + " |")
        print("|---" * (len(COUNTS) + 1) + "|")
        for method in results.methods:
            if method != RANDOM:
                removed = [", ".join(map(str, results.plans[method, count][0])) for count in COUNTS]
                print(f"| `{method}` | " + " | ".join(removed) + " |")


if __name__ == "__main__":
    main()
