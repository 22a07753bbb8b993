"""The stages of a study. Responses that are already in the run folder are not computed again."""

import time
from collections.abc import Callable

from layerlimits import methods
from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Plan
from layerlimits.methods import Context
from layerlimits.models.remove import check_layers
from layerlimits.plugins import described, find, label
from layerlimits.study.estimate import method_cost
from layerlimits.study.session import Run
from layerlimits.study.speed import timings
from layerlimits.types import Ranking

# Rankings by method label.
Rankings = dict[str, Ranking]


def base(run: Run) -> None:
    """Evaluate the unpruned model on every task."""
    for task in run.study.tasks:
        run.ask([()], task)


def sweep(run: Run) -> None:
    """Evaluate every task with one layer skipped at a time."""
    for task in run.study.tasks:
        run.ask([(layer,) for layer in range(run.study.depth)], task)


def rank(run: Run) -> Rankings:
    """Rank the layers by every method, as far as the largest ratio requires; a method that fails is skipped."""
    rankings: Rankings = {}
    for name in run.config.methods:
        try:
            ranking = _rank_one(run, name)
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
    planned = _plans(run, rankings)
    run.artifacts.plans = planned
    by_count: dict[int, list[list[int]]] = {}
    for plan in planned:
        by_count.setdefault(plan["layers"], []).append(plan["removed"])
    for task in run.study.tasks:
        for variants in by_count.values():
            run.ask(variants, task)


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
    """Time the unpruned model and the models pruned by the recovery method, or by the first method that has ranked."""
    if not rankings:
        run.skip("stage speed", "no method has ranked the layers")
        return
    ranking = rankings.get(label(run.config.recovery_method)) or next(iter(rankings.values()))
    variants = [(), *(removed for count in run.study.ratios if len(removed := ranking.plan(count)) == count)]
    timed = run.artifacts.speed
    if timed and [tuple(record["removed"]) for record in timed] == variants:
        return
    measured = timings(run.loaded.model, variants, run.config.speed_repeats)
    run.artifacts.speed = [
        {
            "removed": list(timing.removed),
            "parameters": timing.parameters,
            "weight_bytes": timing.weight_bytes,
            "memory_bytes": timing.memory_bytes,
            "tokens_per_s": list(timing.tokens_per_s),
        }
        for timing in measured
    ]
