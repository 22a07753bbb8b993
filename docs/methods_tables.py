"""The tables of docs/methods.md, from the run folder of the study docs/methods.toml describes.

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
    """What each method's pruned models scored, item by item; random as the mean of its seeds."""

    def __init__(self, answers: StoredAnswers) -> None:
        self._answers, self._whole = answers, answers.fingerprint(())
        self.plans: dict[tuple[str, int], list[list[int]]] = {}
        for plan in Artifacts(answers.store).plans:
            name = RANDOM if plan["method"].startswith(RANDOM) else plan["method"]
            self.plans.setdefault((name, plan["layers"]), []).append(plan["removed"])
        self.methods = list(dict.fromkeys(name for name, _ in self.plans))

    def pairs(self, method: str, count: int, kind: str) -> tuple[Pairs, float]:
        """(unpruned values, pruned values) a task, and the chance of guessing."""
        tasks = [task for task in self._answers.tasks if task["kind"] == kind]
        found = []
        for task in tasks:
            models = [self._values(removed, task) for removed in self.plans[method, count]]
            found.append((self._values((), task), np.mean(models, axis=0).tolist()))
        return found, max(task["chance"] for task in tasks)

    def _values(self, removed: Sequence[int], task: TaskRecord) -> list[float]:
        values = self._answers.values(self._answers.fingerprint(removed), task)
        if values is None:
            raise SystemExit(f"the study has not finished: no answers to {task['name']} without {list(removed)}")
        return values


def ahead(method: Pairs, random: Pairs, chance: float) -> float:
    """The lower and upper 2.5% bound of the difference in kept score, whichever is nearer to 0; 0 where they differ in
    sign: resampled over items, the same items for both.
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
    """Kept share with its interval; bold where it beats random, in brackets where random beats it."""
    pairs, chance = results.pairs(method, count, kind)
    kept = intervals.shared(pairs, chance)
    if kept is None:
        return "not measurable"
    text = f"{kept.estimate:.2f} ({kept.low:.2f} to {kept.high:.2f})"
    if method == RANDOM:
        return text
    lead = ahead(pairs, results.pairs(RANDOM, count, kind)[0], chance)
    return f"**{text}**" if lead > 0 else f"[{text}]" if lead < 0 else text


def main() -> None:
    """Print both tables, and the orders."""
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
