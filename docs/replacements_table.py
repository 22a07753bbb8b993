"""Print the table of replacements in docs/methods.md: the bundled model without a block, with each replacement.

python docs/replacements_table.py [items per task]
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
from layerlimits.replacements import ReplacementContext
from layerlimits.statistics import intervals
from layerlimits.tasks import choose
from layerlimits.types import Sample, Task

BLOCKS = ((5, 6), (5, 6, 7, 8))
CALIBRATION = 256

Values = dict[str, list[float]]
Items = list[tuple[Task, list[Sample]]]


def values(removed: tuple[int, ...], replacement: str, items: Items) -> Values:
    """Per-item scores by task of the model with its layers removed and the replacement applied."""
    loaded = load("reference", device="cpu")
    if removed:
        text = calibration(loaded.tokenizer, CALIBRATION)
        find("replacements", replacement)(ReplacementContext(loaded.model, removed, text.ids))
        remove(loaded.model, removed)
    shorter = replace(loaded, depth=loaded.depth - len(removed))
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder)) as store:
        evaluator = Evaluator(shorter, store)
        return {
            task.name: [verdict.value for verdict in evaluator.verdicts([()], task, samples)[0]]
            for task, samples in items
        }


def cells(base: Values, other: Values, items: Items) -> Iterator[str]:
    """Retention of generation, and chance-corrected retention of choice, with 95% intervals."""
    for kind in ("generation", "choice"):
        tasks = [task for task, _ in items if task.kind == kind]
        pairs = [(base[task.name], other[task.name]) for task in tasks]
        retained = intervals.shared(pairs, max(task.chance for task in tasks))
        assert retained is not None
        yield f"{retained.estimate:.2f} ({retained.low:.2f} to {retained.high:.2f})"


def main() -> None:
    """Print the table."""
    limit = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    items = [(task, task.samples("evaluate", limit, None)) for task in choose(["reference"])]
    base = values((), "none", items)
    print("| removed layers | replacement | generation retention | choice retention (chance-corrected) |")
    print("|---|---|---|---|")
    for removed in BLOCKS:
        for replacement in names("replacements"):
            scores = values(removed, replacement, items)
            listed = ", ".join(map(str, removed))
            print(f"| {listed} | `{replacement}` | {' | '.join(cells(base, scores, items))} |", flush=True)


if __name__ == "__main__":
    main()
