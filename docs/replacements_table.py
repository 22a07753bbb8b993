"""The table of replacements in docs/methods.md: the bundled model without a block, under each replacement.

python docs/replacements_table.py [items a task]
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from layerlimits.evaluation.calibration import calibration
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import Store
from layerlimits.models.load import load
from layerlimits.models.remove import remove
from layerlimits.plugins import find, names
from layerlimits.replacements import Filling
from layerlimits.statistics import intervals
from layerlimits.tasks import choose
from layerlimits.types import Sample, Task

BLOCKS = ((5, 6), (5, 6, 7, 8))
CALIBRATION = 256

Values = dict[str, list[float]]
Items = list[tuple[Task, list[Sample]]]


def values(removed: tuple[int, ...], replacement: str, items: Items) -> Values:
    """Scores by task, item by item, of the model with the layers removed and replaced."""
    loaded = load("reference", device="cpu")
    if removed:
        text = calibration(loaded.tokenizer, CALIBRATION)
        find("replacements", replacement)(Filling(loaded.model, removed, text.ids))
        remove(loaded.model, removed)
    shorter = replace(loaded, depth=loaded.depth - len(removed))
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder)) as store:
        evaluator = Evaluator(shorter, store)
        return {
            task.name: [verdict.value for verdict in evaluator.verdicts([()], task, samples)[0]]
            for task, samples in items
        }


def cells(base: Values, other: Values, items: Items) -> Iterator[str]:
    """Kept share of generation, and of choice less guessing, with 95% intervals."""
    for kind in ("generation", "choice"):
        tasks = [task for task, _ in items if task.kind == kind]
        pairs = [(base[task.name], other[task.name]) for task in tasks]
        kept = intervals.shared(pairs, max(task.chance for task in tasks))
        assert kept is not None
        yield f"{kept.estimate:.2f} ({kept.low:.2f} to {kept.high:.2f})"


def main() -> None:
    """Print the table."""
    limit = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    items = [(task, task.samples("evaluate", limit, None)) for task in choose(["reference"])]
    base = values((), "none", items)
    print("| removed layers | replacement | generation retained | choice retained |\n|---|---|---|---|")
    for removed in BLOCKS:
        for replacement in names("replacements"):
            found = values(removed, replacement, items)
            listed = ", ".join(map(str, removed))
            print(f"| {listed} | `{replacement}` | {' | '.join(cells(base, found, items))} |", flush=True)


if __name__ == "__main__":
    main()
