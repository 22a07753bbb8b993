"""The stages of a study. Each asks for what it needs; what the run folder already holds costs nothing."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Literal

from layerlimits import methods
from layerlimits.methods import Context
from layerlimits.models.load import load
from layerlimits.models.remove import check_layers
from layerlimits.models.save import read_recipe
from layerlimits.plan import counts, method_cost, row_tokens
from layerlimits.plugins import described, find, label
from layerlimits.run import Run
from layerlimits.speed import timings
from layerlimits.types import Ranking

Rankings = dict[str, Ranking]


def base(run: Run) -> None:
    """The unpruned model on every task."""
    for task in run.tasks:
        run.verdicts((), task)


def sweep(run: Run) -> None:
    """One layer skipped at a time, on every task."""
    for task in run.tasks:
        run.many([(layer,) for layer in range(run.loaded.depth)], task)


def rank(run: Run) -> Rankings:
    """Every method's order of removal, as far as the largest ratio needs."""
    config = run.config
    most = max(counts(config, run.loaded.depth).values())
    tasks = tuple(config.selecting())
    tokens = sum(map(len, run.calibration.ids))
    kept = run.store.get("rankings") or {}
    rankings: Rankings = {}
    for name in config.methods:
        began = time.perf_counter()
        share = method_cost(config, name, run.loaded.depth, run.cost, tokens)
        context = Context(
            evaluator=run.evaluator,
            layers=most,
            calibration=run.calibration,
            tasks=tasks,
            items=config.select_items,
            protected=config.protect,
            seed=config.seed,
            data_dir=config.data_dir,
            tick=_advancing(run, share),
        )
        ranking = methods.rank(name, context)
        rankings[ranking.method] = ranking
        before = kept.get(ranking.method, {})
        kept[ranking.method] = {
            "scores": [methods.finite(score) for score in ranking.scores],
            "order": ranking.order,
            "used": ranking.used,
            "largest_first": ranking.largest_first,
            "detail": ranking.detail,
            "source": described(find("methods", name), "Source"),
            # A resumed run finds the answers stored: the first full time is the true one.
            "seconds": max(time.perf_counter() - began, before.get("seconds", 0.0)),
        }
        run.store.put("rankings", kept)
    return rankings


def _advancing(run: Run, seconds: float) -> Callable[[float], None]:
    """Moves the bar by a share of so many estimated seconds."""
    return lambda share: run.bar.advance(share * seconds)


def plans(run: Run, rankings: Rankings) -> list[dict[str, Any]]:
    """Which layers each method removes at each ratio; of ratios that mean as many layers, the smallest stands."""
    removals: dict[int, float] = {}
    for ratio, count in counts(run.config, run.loaded.depth).items():
        removals.setdefault(count, ratio)
    return [
        {
            "method": method,
            "ratio": ratio,
            "layers": count,
            "removed": list(check_layers(ranking.plan(count), run.loaded.depth)),
        }
        for method, ranking in rankings.items()
        for count, ratio in removals.items()
    ]


def prune(run: Run, rankings: Rankings) -> None:
    """Every method at every ratio, on every task."""
    planned = plans(run, rankings)
    run.store.put("plans", planned)
    by_count: dict[int, list[list[int]]] = {}
    for plan in planned:
        by_count.setdefault(plan["layers"], []).append(plan["removed"])
    for task in run.tasks:
        for variants in by_count.values():
            run.many(variants, task)


def recover(run: Run, rankings: Rankings) -> None:
    """Pruned models finetuned on the unpruned model's answers, and measured again."""
    from layerlimits.recovery.data import answer, training_prompts

    settings, config = run.config.recovery, run.config
    if not settings.kinds:
        return
    prompts = training_prompts(run.tasks, settings.items, config.data_dir)
    longest = max(task.max_new_tokens for task in run.tasks)
    each = sum(run.cost.response(task, run.loaded.depth, settings.items, longest) for task in run.tasks) / len(
        run.tasks
    )
    examples, dropped = answer(run.evaluator, prompts, longest, lambda done: run.bar.advance(done * each))
    removals = counts(config, run.loaded.depth)
    wanted = {(label(config.recovery_method), removals[ratio]) for ratio in config.recovery_ratios}
    for plan in plans(run, rankings):
        if (plan["method"], plan["layers"]) in wanted:
            for kind in settings.kinds:
                _recover_one(run, plan, kind, examples, dropped)


def _recover_one(
    run: Run, plan: dict[str, Any], kind: Literal["full", "lora"], examples: Sequence[Any], dropped: int
) -> None:
    from layerlimits.recovery.finetune import Finetune, finetune

    name = f"{plan['method']}-{plan['layers']}-{kind}"
    out, work = run.folder / "models" / name, run.folder / "work" / name
    settings = Finetune(kind=kind, epochs=run.config.recovery.epochs, seed=run.config.seed)
    share = run.cost.training(
        len(examples) * settings.epochs * row_tokens(run.tasks, run.cost), run.loaded.depth - plan["layers"]
    )
    done = 0

    def tick(step: int, steps: int) -> None:
        nonlocal done
        run.bar.advance((step - done) / steps * share)
        done = step

    about = {"base": run.loaded.ref.path, "base_fingerprint": run.loaded.ref.base_fingerprint, **plan}
    began = time.perf_counter()
    finetune(run.loaded, tuple(plan["removed"]), examples, settings, work, out, about, tick)
    # A resumed training took longer than its last part.
    before = (run.store.get("recovered") or {}).get(name, {}).get("seconds", 0.0)
    spent = max(time.perf_counter() - began, before)
    recovered = load(str(out), dtype=run.loaded.ref.dtype, device=str(run.loaded.model.device))
    evaluator = run.like(recovered)
    for task in run.tasks:
        run.verdicts((), task, evaluator)
    trained = (read_recipe(out) or {})["finetune"]
    entry = {"name": kind, **plan, "fingerprint": recovered.ref.fingerprint, "settings": asdict(settings)}
    entry |= {"examples": trained["examples"], "dropped": dropped, "trained_tokens": trained["trained_tokens"]}
    entry |= {"seconds": spent}
    run.store.put("recovered", (run.store.get("recovered") or {}) | {name: entry})


def speed(run: Run, rankings: Rankings) -> None:
    """Base and pruned models timed against each other; layers taken by the recovery method."""
    if run.store.get("speed"):
        return
    ranking = rankings[label(run.config.recovery_method)]
    variants = [(), *(ranking.plan(count) for count in sorted(set(counts(run.config, run.loaded.depth).values())))]
    measured = timings(run.loaded.model, variants, run.config.speed_repeats)
    run.store.put("speed", [asdict(timing) for timing in measured])
