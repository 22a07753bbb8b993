"""Print the tables of docs/methods.md for a trained model: what each method removes, and what is left.

python docs/methods_trained.py MODEL --data-dir D --calibration F.jsonl --out RUN --tasks arc_easy,piqa [--limit 100]

Every method selects a tenth and a quarter of the layers; all models are then asked the same items in one batch. The run
folder keeps answers and losses, so that the command resumes.
"""

import argparse
from pathlib import Path

import numpy as np

from layerlimits.api.choosing import selection_data
from layerlimits.api.models import depth
from layerlimits.api.opening import open_evaluator
from layerlimits.api.options import RankOptions
from layerlimits.api.ranking import ranking
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.statistics import intervals
from layerlimits.tasks import choose
from layerlimits.types import Task

RATIOS = (0.1, 0.25)
RANDOM_SEEDS = (1, 2, 3, 4, 5)
METHODS = (
    "reverse",
    "block_influence",
    "angular",
    "perplexity",
    "taylor",
    "taylor:norms=false",
    "taylor:plus=true",
    "magnitude",
    "magnitude:norms=false",
    "sleb",
    "sleb:ends=false",
    "interaction",
    "laco",
    "laco:form=code",
)
Removed = dict[tuple[str, int], tuple[int, ...]]


def main() -> None:
    """Rank, evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", default="arc_easy,piqa")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--items", type=int, default=32, help="calibration texts")
    parser.add_argument("--methods", type=lambda names: tuple(names.split(",")), default=METHODS)
    args = parser.parse_args()
    layers = depth(args.model)
    counts = [max(1, round(ratio * layers)) for ratio in RATIOS]
    tasks = choose(args.tasks.split(","))
    with open_evaluator(args.model, AskOptions(), seed=0, out=args.out) as evaluator:
        removed = plans(evaluator, counts, args)
        variants = list(dict.fromkeys([(), *(tuple(sorted(plan)) for plan in removed.values())]))
        values = {task.name: scores(evaluator, task, variants, args) for task in tasks}
    show(removed, values, tasks, counts, layers)


def plans(evaluator: Evaluator, counts: list[int], args: argparse.Namespace) -> Removed:
    """The layers that each method removes at each number; printed as they are found."""
    chosen: Removed = {}
    for method in (*args.methods, *(f"random:seed={seed}" for seed in RANDOM_SEEDS)):
        for count in counts:
            options = RankOptions(
                layers=count, items=args.items, calibration=args.calibration, data_dir=args.data_dir, seed=0
            )
            data = selection_data(args.model, options, [method])
            result = ranking(method, options, evaluator, data, lambda share: None)
            chosen[method, count] = result.plan(count)
            print(f"| `{method}` | {count} | {', '.join(map(str, result.plan(count)))} |", flush=True)
    return chosen


def scores(
    evaluator: Evaluator, task: Task, variants: list[tuple[int, ...]], args: argparse.Namespace
) -> dict[tuple[int, ...], list[float]]:
    """Per-item values of every variant on a task."""
    samples = task.samples("evaluate", args.limit, args.data_dir)
    verdicts = evaluator.verdicts(variants, task, samples)
    return {variant: [verdict.value for verdict in column] for variant, column in zip(variants, verdicts, strict=True)}


def show(
    removed: Removed,
    values: dict[str, dict[tuple[int, ...], list[float]]],
    tasks: list[Task],
    counts: list[int],
    layers: int,
) -> None:
    """Print a table per task: the score, and the difference from the unpruned model, with 95% intervals."""
    for task in tasks:
        by_model = values[task.name]
        base = intervals.mean(by_model[()])
        print(f"\n### {task.name} (chance {task.chance:g}, n = {base.n})\n")
        print(f"Unpruned: {base.estimate:.3f} ({base.low:.3f} to {base.high:.3f}).\n")
        print("| method | " + " | ".join(f"{count} of {layers}" for count in counts) + " |")
        print("|---" * (len(counts) + 1) + "|")
        for method in dict.fromkeys(method for method, _ in removed if not method.startswith("random")):
            models = [[by_model[tuple(sorted(removed[method, count]))]] for count in counts]
            print(f"| `{method}` | " + " | ".join(cell(column, by_model[()]) for column in models) + " |")
        seeds = [
            [by_model[tuple(sorted(removed[f"random:seed={seed}", count]))] for seed in RANDOM_SEEDS]
            for count in counts
        ]
        cells = " | ".join(cell(column, by_model[()]) for column in seeds)
        print(f"| random (mean of {len(RANDOM_SEEDS)} seeds) | {cells} |", flush=True)


def cell(models: list[list[float]], base: list[float]) -> str:
    """The mean score of the models and its paired difference from the unpruned model."""
    mean = np.mean(models, axis=0).tolist()
    change = intervals.difference([(base, mean)])
    return f"{np.mean(mean):.3f} ({change.estimate:+.3f}, {change.low:+.3f} to {change.high:+.3f})"


if __name__ == "__main__":
    main()
