"""The stages of a study. Responses that are already in the run folder are not computed again."""

import time
from collections.abc import Callable, Sequence
from statistics import fmean

from layerlimits import methods
from layerlimits.errors import StorageError, UserError
from layerlimits.evaluation.artifacts import Plan
from layerlimits.methods import Context, effort
from layerlimits.models.remove import check_layers
from layerlimits.plugins import described, find, label
from layerlimits.results.figures import by_item
from layerlimits.study import fitting
from layerlimits.study.budget import Clock
from layerlimits.study.estimate import method_cost
from layerlimits.study.resolved import ResolvedStudy, with_removals, with_tasks, without_tasks
from layerlimits.study.screening import reason_to_set_aside
from layerlimits.study.session import Run
from layerlimits.study.speed import timings
from layerlimits.types import Ranking, Sample, Task, Variant

# Part of the time left that the first task of a class may take: a study of one class alone says little.
_MOST = 0.35

# Rankings by method label.
Rankings = dict[str, Ranking]


def base(run: Run) -> None:
    """Evaluate the unpruned model on every task; default tasks that it cannot do are set aside.

    Within a budget, only the first items are evaluated here; later stages add the items that they use.

    Raises:
        UserError: The model can do none of the default tasks.
    """
    everything, set_aside = run.study, dict[str, str]()
    if run.clock:
        _choose_tasks(run, run.clock)
    for task in run.study.tasks:
        _ask_base(run, task, run.base_items(task), set_aside)
    if run.clock:
        _complete_classes(run, run.clock, everything, set_aside)
        run.leave_out(fitting.left_out_of_base(everything, run.study.tasks, run.cost))
    if set_aside:
        run.study = without_tasks(run.study, set_aside)
    _drop_methods_that_cannot_decide(run)


def _ask_base(run: Run, task: Task, count: int, set_aside: dict[str, str]) -> None:
    """Evaluate the unpruned model on a task; a default task whose first `count` items it cannot do is added to
    `set_aside`.
    """
    items = run.study.items[task.name]
    first = items[:count]
    run.ask("base", [()], task, first)
    if run.clock:
        run.record_count("base", task, len(first))
    reason = _reason_to_set_aside(run, task, first) if run.study.screened else ""
    if reason:
        run.set_aside(task, reason, len(first))
        set_aside[task.name] = reason
    elif not run.clock:
        run.ask("base", [()], task, items[len(first) :])


def _choose_tasks(run: Run, clock: Clock) -> None:
    """Limit a study with a budget to the tasks that fit; if nothing is left, to those that it has measured."""
    measured = tuple(task for task in run.study.tasks if run.counts(task))
    if measured and clock.left <= 0:
        run.study = with_tasks(run.study, measured)
        return
    run.study = with_tasks(
        run.study, fitting.base_tasks(run.study, run.cost, clock.share("base", run.coming("base")), run.missing)
    )


def _complete_classes(run: Run, clock: Clock, everything: ResolvedStudy, set_aside: dict[str, str]) -> None:
    """Try tasks that did not fit, cheapest first, for a class of which all chosen tasks are set aside."""
    for kind in dict.fromkeys(task.kind for task in everything.tasks):
        for task in fitting.cheapest(everything, kind, run.cost):
            if any(task.kind == kind and task.name not in set_aside for task in run.study.tasks):
                break
            count = fitting.first_items(everything, task, run.cost, _MOST * clock.left, run.missing)
            if task not in run.study.tasks and count:
                chosen = (*run.study.tasks, task)
                run.study = with_tasks(everything, [task for task in everything.tasks if task in chosen])
                _ask_base(run, task, count, set_aside)


def _reason_to_set_aside(run: Run, task: Task, items: Sequence[Sample]) -> str:
    (verdicts,) = run.evaluator.verdicts([()], task, items)
    draws = by_item([verdict.value for verdict in verdicts], len(items))
    return reason_to_set_aside(task, [fmean(values) for values in draws])


def _drop_methods_that_cannot_decide(run: Run) -> None:
    """Drop methods that compare scores on select items if the unpruned model scores 0 on all of them."""
    study = run.study
    comparing = [name for name in run.methods if effort(name, "evaluations", study.depth, study.most_removed)]
    cost = sum(len(study.select_items[task.name]) * run.cost.response(task, study.depth) for task in study.select_tasks)
    share = run.share("rank")
    if not comparing or (share is not None and cost > share):
        return
    for task in study.select_tasks:
        run.ask("base", [()], task, study.select_items[task.name])
        (verdicts,) = run.evaluator.verdicts([()], task, study.select_items[task.name])
        if any(verdict.value for verdict in verdicts):
            return
    names = ", ".join(task.name for task in study.select_tasks)
    reason = f"the unpruned model scores 0 on all selection items of {names}"
    for name in comparing:
        run.skip(f"method {label(name)}", reason if names else "no task has selection items")
    run.methods = tuple(name for name in run.methods if name not in comparing)


def sweep(run: Run) -> None:
    """Evaluate every task with one layer skipped at a time."""
    tasks, layers = run.study.measured, tuple(range(run.study.depth))
    seconds = run.share("sweep")
    if seconds is not None:
        fitted = fitting.sweep(run.study, run.cost, seconds, run.missing)
        run.leave_out(fitted.left_out)
        tasks, layers = fitted.tasks, fitted.layers
    _measure_all(run, "sweep", tasks, [[(layer,) for layer in layers]], seconds)


def _measure_all(
    run: Run, stage: str, tasks: Sequence[Task], groups: Sequence[Sequence[Variant]], seconds: float | None
) -> None:
    """Evaluate groups of variants on tasks; each task gets an equal part of the time that is left."""
    if seconds is None:
        for task in tasks:
            run.measure(stage, groups, task)
        return
    deadline = time.perf_counter() + seconds
    for task in run.study.measured:
        if task not in tasks and not run.counts(task).get(stage):
            run.record_count(stage, task, 0)
    # Cheap tasks first: the time that they do not need goes to the others. Every task gets its first items.
    ordered = sorted(tasks, key=lambda task: run.cost.response(task, run.study.depth, stage))
    for task in ordered:
        run.measure_within(stage, groups, task, deadline - time.perf_counter(), fitting.FIRST_ITEMS)
    for place, task in enumerate(ordered):
        run.measure_within(stage, groups, task, (deadline - time.perf_counter()) / (len(ordered) - place))


def rank(run: Run) -> Rankings:
    """Rank the layers by every method, as far as the largest ratio requires; a method that fails is skipped."""
    seconds, names = run.share("rank"), run.methods
    if seconds is not None and run.clock:
        pruning = run.clock.share("prune", ("rank", *run.coming("prune")))
        planned = {plan["layers"] for plan in run.artifacts.plans}
        removals, without_ratios = fitting.removals(run.study, run.cost, pruning, len(names), planned)
        run.study = with_removals(run.study, removals)
        names, without_methods = fitting.methods(run.study, names, run.cost, seconds, list(run.artifacts.rankings))
        run.leave_out([*without_ratios, *without_methods])
    rankings: Rankings = {}
    for name in names:
        try:
            ranking = _rank_one(run, name)
        except StorageError:
            raise
        except UserError as error:
            run.skip(f"method {label(name)}", error.problem)
            continue
        rankings[ranking.method] = ranking
    return rankings


def _rank_one(run: Run, name: str) -> Ranking:
    study, config = run.study, run.config
    began = time.perf_counter()
    context = Context(
        run.evaluator,
        layers=study.most_removed,
        calibration=study.calibration,
        tasks=study.select_tasks,
        items=config.select_items,
        protected=config.protect,
        seed=config.seed,
        data_dir=config.data_dir,
        on_progress=_advancing(run, method_cost(study, name, run.cost)),
    )
    ranking = methods.rank(name, context)
    records = run.artifacts.rankings
    before = records[ranking.method]["seconds"] if ranking.method in records else 0.0
    records[ranking.method] = {
        "scores": [methods.finite(score) for score in ranking.scores],
        "order": list(ranking.order),
        "used": list(ranking.used),
        "largest_first": ranking.largest_first,
        "detail": dict(ranking.detail),
        "source": described(find("methods", name), "Source"),
        # A resumed run reuses stored responses, so the longest duration is the real one.
        "seconds": max(time.perf_counter() - began, before),
    }
    run.artifacts.rankings = records
    return ranking


def _advancing(run: Run, seconds: float) -> Callable[[float], None]:
    """A callback that advances the bar by a fraction of `seconds` estimated seconds."""
    return lambda share: run.bar.advance(share * seconds)


def prune(run: Run, rankings: Rankings) -> None:
    """Evaluate every task with the layers removed that each method selects at each ratio."""
    run.artifacts.plans = _plans(run, rankings)
    groups = _pruned(run)
    tasks, seconds = run.study.measured, run.share("prune")
    if seconds is not None:
        variants = [variant for group in groups for variant in group]
        missing = {task.name: run.missing(task, variants, fitting.FIRST_ITEMS) for task in tasks}
        fitted = fitting.prune(run.study, run.cost, seconds, missing)
        run.leave_out(fitted.left_out)
        tasks = fitted.tasks
    _measure_all(run, "prune", tasks, groups, seconds)


def use_rest(run: Run) -> None:
    """Evaluate the pruned models on more items with the time of a budget that no stage has used."""
    if not run.clock or not run.artifacts.plans:
        return
    tasks = [task for task in run.study.measured if run.counts(task).get("prune")]
    _measure_all(run, "prune", tasks, _pruned(run), run.clock.left)


def _pruned(run: Run) -> list[list[Variant]]:
    """The planned pruned models, grouped by the number of removed layers."""
    by_count: dict[int, list[Variant]] = {}
    for plan in run.artifacts.plans:
        by_count.setdefault(plan["layers"], []).append(tuple(plan["removed"]))
    return list(by_count.values())


def _plans(run: Run, rankings: Rankings) -> list[Plan]:
    """The removed layers by method and ratio; a method that cannot remove that many layers is skipped there."""
    planned: list[Plan] = []
    for method, ranking in rankings.items():
        for count, ratio in run.study.ratios.items():
            removed = ranking.plan(count)
            if len(removed) < count:
                run.skip(f"{count} layers by {method}", f"it can remove only {len(removed)} layers")
                continue
            layers = list(check_layers(removed, run.study.depth))
            planned.append({"method": method, "ratio": ratio, "layers": count, "removed": layers})
    return planned


def speed(run: Run, rankings: Rankings) -> None:
    """Time the unpruned model and those pruned by the first recovery method, or by the first method that has ranked."""
    if not rankings:
        run.skip("stage speed", "no method has ranked the layers")
        return
    ranking = rankings.get(label(run.config.recovery_methods[0])) or next(iter(rankings.values()))
    repeats, counts = run.config.speed_repeats, tuple(run.study.ratios)
    seconds = run.share("speed")
    timed = run.artifacts.speed
    if seconds is not None:
        if timed:
            # What a former command has timed within its budget stays.
            return
        repeats, counts = fitting.speed(run.study, run.cost, seconds)
    if not counts:
        run.leave_out(["the timing of pruned models"])
        return
    variants = [(), *(removed for count in counts if len(removed := ranking.plan(count)) == count)]
    if timed and [tuple(record["removed"]) for record in timed] == variants:
        return
    measured = timings(run.loaded.model, variants, repeats)
    run.artifacts.speed = [
        {
            "removed": list(timing.removed),
            "parameters": timing.parameters,
            "weight_bytes": timing.weight_bytes,
            "memory_bytes": timing.memory_bytes,
            "tokens_per_s": list(timing.tokens_per_s),
            "first_token_s": list(timing.first_token_s),
            "prompts": timing.prompts,
            "prompt_tokens": timing.prompt_tokens,
            "new_tokens": timing.new_tokens,
        }
        for timing in measured
    ]
