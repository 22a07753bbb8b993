"""Choosing what a study measures within the seconds of a stage. Each function also says what it leaves out.

The costs of stored responses are 0, so a resumed study keeps what it has and adds to it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from layerlimits.errors import UserError
from layerlimits.plugins import label
from layerlimits.progress import duration
from layerlimits.study.estimate import (
    Cost,
    finetuning_cost,
    method_cost,
    speed_cost,
    training_answer_cost,
)
from layerlimits.study.resolved import ResolvedStudy
from layerlimits.study.screening import SCREENED_ITEMS
from layerlimits.types import Kind, Task

# The first items of a task that a stage evaluates together; fewer show nothing.
FIRST_ITEMS = 8
# Every n-th layer, from all layers to a few.
_STRIDES = (1, 2, 3, 4, 6, 8)
# Fewest training examples worth finetuning on.
_MIN_EXAMPLES = 200
_USUAL_RATIO = 0.25

# (task, variants, items) -> number of responses that are not stored yet.
Missing = Callable[[Task, Sequence[tuple[int, ...]], int], int]


@dataclass(frozen=True)
class Fitted:
    """What fits: tasks, and for the sweep layers; `left_out` are sentences about the rest."""

    tasks: tuple[Task, ...]
    layers: tuple[int, ...] = ()
    left_out: tuple[str, ...] = ()


def base_cost(study: ResolvedStudy, task: Task, cost: Cost) -> float:
    """Seconds in which the unpruned model answers the first items of a task."""
    return SCREENED_ITEMS * cost.response(task, study.depth)


def cheapest(study: ResolvedStudy, kind: Kind, cost: Cost) -> list[Task]:
    """The tasks of a class, cheapest first."""
    return sorted((task for task in study.tasks if task.kind == kind), key=lambda task: base_cost(study, task, cost))


def first_items(study: ResolvedStudy, task: Task, cost: Cost, seconds: float, missing: Missing) -> int:
    """Number of items on which the unpruned model can try a task in time; 0 if there is no time for a few."""
    each = cost.response(task, study.depth)
    counts = (count for count in (SCREENED_ITEMS, FIRST_ITEMS) if missing(task, [()], count) * each <= seconds)
    return next(counts, 0)


def base_tasks(study: ResolvedStudy, cost: Cost, seconds: float, missing: Missing) -> tuple[Task, ...]:
    """The tasks whose first items the unpruned model can answer in time, cheapest first, of both classes.

    Raises:
        UserError: No task fits.
    """
    costs = {task.name: missing(task, [()], SCREENED_ITEMS) * cost.response(task, study.depth) for task in study.tasks}
    kept = _affordable(study.tasks, costs, seconds)
    if not kept:
        name = min(costs, key=lambda name: costs[name])
        raise UserError(
            f"the budget is too short for this model on this machine: {SCREENED_ITEMS} items of {name}, the cheapest "
            f"task, take about {duration(costs[name])}, and {duration(seconds)} are available for them",
            f"set --budget to {max(2, round(costs[name] / seconds * 1.5 + 1)) if seconds else 3} times as much",
        )
    return kept


def left_out_of_base(study: ResolvedStudy, kept: Sequence[Task], cost: Cost) -> tuple[str, ...]:
    """A sentence about the tasks that are not measured."""
    return _without_tasks(
        "the study", study.tasks, kept, {task.name: base_cost(study, task, cost) for task in study.tasks}
    )


def sweep(study: ResolvedStudy, cost: Cost, seconds: float, missing: Missing) -> Fitted:
    """The swept layers and tasks: all layers if possible, else every second, third and so on.

    Rather fewer layers than a sweep without one of the classes, if that helps; rather fewer tasks than a few layers
    only.
    """
    fits = [_swept(study, stride, cost, seconds, missing) for stride in _STRIDES]
    kinds, most = {task.kind for task in study.measured}, max(len(tasks) for tasks, _ in fits)
    covering = [
        {task.kind for task in tasks} == kinds and len(tasks) >= min(2, len(study.measured)) for tasks, _ in fits
    ]
    chosen = covering.index(True) if any(covering) else [len(tasks) >= min(2, most) for tasks, _ in fits].index(True)
    (kept, costs), stride = fits[chosen], _STRIDES[chosen]
    layers = tuple(range(0, study.depth, stride))
    left_out = list(_without_tasks("the sweep", study.measured, kept, costs))
    if stride > 1:
        left_out.append(f"{study.depth - len(layers)} of {study.depth} layers in the sweep (one in {stride} is swept)")
    return Fitted(kept, layers, tuple(left_out))


def _swept(
    study: ResolvedStudy, stride: int, cost: Cost, seconds: float, missing: Missing
) -> tuple[tuple[Task, ...], dict[str, float]]:
    """The tasks that fit with every `stride`-th layer, and the costs of all tasks."""
    variants = [(layer,) for layer in range(0, study.depth, stride)]
    costs = {
        task.name: missing(task, variants, FIRST_ITEMS) * cost.response(task, study.depth - 1, "sweep")
        for task in study.measured
    }
    return _affordable(study.measured, costs, seconds), costs


def methods(
    study: ResolvedStudy, names: Sequence[str], cost: Cost, seconds: float, ranked: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The methods that rank in time, cheapest first, and sentences about the others.

    Args:
        study: The study.
        names: The methods to choose from.
        cost: Their costs.
        seconds: Time that they may take.
        ranked: Labels of methods that have ranked already.
    """
    costs = {method: 0.0 if label(method) in ranked else method_cost(study, method, cost) for method in names}
    kept: set[str] = set()
    left = seconds
    for method in sorted(costs, key=lambda method: costs[method]):
        if costs[method] <= left:
            kept.add(method)
            left -= costs[method]
    others = [f"method {label(method)} (about {duration(costs[method])})" for method in costs if method not in kept]
    return tuple(method for method in costs if method in kept), tuple(others)


def removals(
    study: ResolvedStudy, cost: Cost, seconds: float, models: int, planned: Collection[int] = ()
) -> tuple[dict[float, int], tuple[str, ...]]:
    """The ratios at which `models` methods fit, each on the first items of all measured tasks.

    The ratio closest to a quarter comes first, then the smallest, then the largest.

    Args:
        study: The study.
        cost: Its costs.
        seconds: Time that the pruned models may take.
        models: Number of methods.
        planned: Numbers of removed layers that a former command has chosen; they stay.
    """
    by_use = sorted(study.ratios.items(), key=lambda pair: abs(pair[1] - _USUAL_RATIO))
    ends = (by_use[0], min(study.ratios.items()), max(study.ratios.items()))
    kept: dict[int, float] = {}
    left = seconds

    def needed_for(task: Task, count: int) -> float:
        return models * FIRST_ITEMS * cost.response(task, study.depth - count, "prune")

    # A task that does not even fit at one ratio takes no ratio from the others.
    single = {task.name: needed_for(task, by_use[0][0]) for task in study.measured}
    tasks = _affordable(study.measured, single, seconds) or study.measured
    for count, ratio in dict([*ends, *by_use]).items():
        needed = sum(needed_for(task, count) for task in tasks)
        if count in planned:
            kept[count] = ratio
        elif needed <= left or not (kept or planned):
            kept[count] = ratio
            left -= needed
    removed = {ratio: count for ratio, count in study.removals.items() if count in kept}
    others = [f"{count} removed layers" for count in study.ratios if count not in kept]
    return removed, tuple(others)


def prune(study: ResolvedStudy, cost: Cost, seconds: float, missing: Mapping[str, int]) -> Fitted:
    """The tasks on which the pruned models are evaluated.

    Args:
        missing: Responses to the first items that are not stored yet, by task.
    """
    kept_layers = study.depth - study.most_removed // 2
    costs = {task.name: missing[task.name] * cost.response(task, kept_layers, "prune") for task in study.measured}
    kept = _affordable(study.measured, costs, seconds)
    return Fitted(kept, left_out=_without_tasks("pruned models", study.measured, kept, costs))


def recovery(study: ResolvedStudy, cost: Cost, seconds: float) -> tuple[ResolvedStudy, tuple[str, ...]]:
    """The study with the finetuning that fits: one kind and objective, one model, and as many examples as possible."""
    planned = study.recovery
    if planned is None:
        return study, ()
    counts = planned.counts[:1]
    small = replace(planned, kinds=planned.kinds[:1], methods=planned.methods[:1], counts=counts)
    small = replace(small, objectives=planned.objectives[:1])
    whole = len(small.prompts) * training_answer_cost(study, cost) + finetuning_cost(study, small, counts[0], cost)
    evaluated = sum(FIRST_ITEMS * cost.response(task, study.depth - counts[0]) for task in study.measured)
    affordable = int(len(small.prompts) * max(0.0, seconds - evaluated) / max(whole, 1e-9))
    if affordable < min(_MIN_EXAMPLES, len(small.prompts)):
        needed = evaluated + whole * min(1.0, _MIN_EXAMPLES / len(small.prompts))
        return replace(study, recovery=None), (f"finetuning (at least {duration(needed)})",)
    return replace(study, recovery=replace(small, prompts=small.prompts[:affordable])), ()


def speed(study: ResolvedStudy, cost: Cost, seconds: float) -> tuple[int, tuple[int, ...]]:
    """Repeats and numbers of removed layers that can be timed; no numbers if nothing fits."""
    counts = tuple(study.ratios)
    usual = min(counts, key=lambda count: abs(study.ratios[count] - _USUAL_RATIO))
    for repeats, timed in ((study.config.speed_repeats, counts), (3, counts), (3, (usual,))):
        if speed_cost(study, repeats, len(timed), cost) <= seconds:
            return repeats, timed
    return 0, ()


def _affordable(tasks: Sequence[Task], costs: Mapping[str, float], seconds: float) -> tuple[Task, ...]:
    """The tasks that fit in order of their costs; the cheapest one of each class first."""
    by_cost = sorted(tasks, key=lambda task: costs[task.name])
    first: dict[Kind, Task] = {}
    for task in by_cost:
        first.setdefault(task.kind, task)
    left, kept = seconds, set[str]()
    for task in (*first.values(), *(task for task in by_cost if task not in first.values())):
        if costs[task.name] <= left:
            kept.add(task.name)
            left -= costs[task.name]
    return tuple(task for task in tasks if task.name in kept)


def _without_tasks(
    where: str, tasks: Sequence[Task], kept: Sequence[Task], costs: Mapping[str, float]
) -> tuple[str, ...]:
    others = [task for task in tasks if task not in kept]
    if not others:
        return ()
    listed = ", ".join(f"{task.name} (at least {duration(costs[task.name])})" for task in others)
    return (f"in {where}: {listed}",)
