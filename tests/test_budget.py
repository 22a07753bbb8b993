"""A budget: durations, the division of time among stages, and what fits into a stage."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.store import Store
from layerlimits.study import fitting, stages
from layerlimits.study.config import StudyConfig
from layerlimits.study.estimate import Cost, cost_of, stage_costs, training_cost
from layerlimits.study.pipeline import study as study_of
from layerlimits.study.rates import Rates
from layerlimits.study.resolved import ResolvedStudy, resolve
from layerlimits.types import Task, Variant

RATES = Rates(prompt_token=1e-3, new_token=1e-2, shared_choice=0.5, shared_generation=0.25, training_token=4e-3)


@pytest.fixture(scope="module")
def study(tiny: Path) -> ResolvedStudy:
    tasks = ("facts", "word_problems", "facts_choice")
    return resolve(StudyConfig(model=str(tiny), tasks=tasks, limit=40, ratios=(0.2, 0.4), calibration_items=8))


@pytest.fixture
def cost(study: ResolvedStudy) -> Cost:
    return cost_of(study, RATES)


def nothing_stored(task: Task, variants: list[Variant], items: int) -> int:
    return len(variants) * items


def test_costs_follow_the_rates_and_what_was_measured(study: ResolvedStudy, cost: Cost) -> None:
    facts, choice = study.tasks[0], study.tasks[2]
    alone = cost.response(facts, study.depth)
    assert alone == pytest.approx(cost.prompt_tokens["facts"] * 1e-3 + cost.new_tokens(facts) * 1e-2)
    assert cost.response(facts, study.depth, "sweep") == pytest.approx(alone / 4)
    assert cost.response(choice, study.depth, "sweep") == pytest.approx(cost.response(choice, study.depth) / 2)
    whole = stage_costs(study, cost)
    assert set(whole) == {"base", "sweep", "rank", "prune", "diagnose", "recover", "speed"}
    assert all(seconds > 0 for seconds in whole.values())
    cost.learn(facts, study.depth, "base", 3 * alone)
    assert cost.response(facts, study.depth) == pytest.approx(3 * alone)
    assert stage_costs(study, cost)["sweep"] > whole["sweep"]


def test_base_tasks_keep_the_cheapest_of_each_class(study: ResolvedStudy, cost: Cost) -> None:
    everything = fitting.base_tasks(study, cost, 1e6, nothing_stored)
    assert everything == study.tasks
    assert not fitting.left_out_of_base(study, everything, cost)
    needed = {task.name: 24 * cost.response(task, study.depth) for task in study.tasks}
    less = fitting.base_tasks(study, cost, sum(needed.values()) - 0.01, nothing_stored)
    assert {task.kind for task in less} == {"generation", "choice"}
    (sentence,) = fitting.left_out_of_base(study, less, cost)
    (missing,) = [name for name in needed if name not in {task.name for task in less}]
    assert missing in sentence
    # Stored responses cost nothing.
    assert fitting.base_tasks(study, cost, 0.0, lambda *_: 0) == study.tasks


def test_the_sweep_takes_fewer_layers_before_it_loses_a_class(study: ResolvedStudy, cost: Cost) -> None:
    everything = fitting.sweep(study, cost, 1e6, nothing_stored)
    assert everything.layers == tuple(range(study.depth))
    assert not everything.left_out
    variants = [(layer,) for layer in range(study.depth)]
    needed = sum(
        nothing_stored(task, variants, fitting.FIRST_ITEMS) * cost.response(task, study.depth - 1, "sweep")
        for task in study.tasks
    )
    less = fitting.sweep(study, cost, needed / 6, nothing_stored)
    assert {task.kind for task in less.tasks} == {"generation", "choice"}
    assert len(less.layers) < study.depth
    assert any("layers in the sweep" in sentence for sentence in less.left_out)


def test_a_task_that_fits_nowhere_takes_no_layers_and_ratios_from_the_others(study: ResolvedStudy, cost: Cost) -> None:
    generated = [task for task in study.tasks if task.kind == "generation"]
    for task in generated:
        for stage, kept in (("sweep", study.depth - 1), ("prune", study.depth - 1), ("prune", study.depth - 2)):
            cost.learn(task, kept, stage, 1e6)
    (choice,) = [task for task in study.tasks if task.kind == "choice"]
    variants = [(layer,) for layer in range(study.depth)]
    seconds = nothing_stored(choice, variants, 8) * cost.response(choice, study.depth - 1, "sweep") + 1
    swept = fitting.sweep(study, cost, seconds, nothing_stored)
    assert swept.tasks == (choice,)
    assert swept.layers == tuple(range(study.depth))
    kept, left_out = fitting.removals(study, cost, 1e5, 2)
    assert sorted(kept.values()) == [1, 2]
    assert not left_out


def test_expensive_methods_are_left_out_with_their_duration(study: ResolvedStudy, cost: Cost) -> None:
    names = ("reverse", "task_score", "random")
    assert fitting.methods(study, names, cost, 1e6, ()) == (names, ())
    kept, others = fitting.methods(study, names, cost, 0.0, ())
    assert kept == ("reverse", "random")
    assert others[0].startswith("method task_score (about ")
    assert fitting.methods(study, names, cost, 0.0, ("task_score",))[0] == names


def test_the_ratio_closest_to_a_quarter_is_kept_longest(study: ResolvedStudy, cost: Cost) -> None:
    assert fitting.removals(study, cost, 1e6, 4)[0] == study.removals
    kept, others = fitting.removals(study, cost, 0.0, 4)
    assert kept == {0.2: 1}
    assert others == ("2 removed layers",)


def test_finetuning_takes_the_examples_that_fit_or_is_left_out(study: ResolvedStudy, cost: Cost) -> None:
    assert study.recovery
    fitted, left_out = fitting.recovery(study, cost, 1e7)
    assert fitted.recovery
    assert len(fitted.recovery.prompts) == len(study.recovery.prompts)
    assert not left_out
    small = replace(study.recovery, kinds=("full",), counts=study.recovery.counts[:1])
    whole = training_cost(replace(study, recovery=small), cost)
    fewer, _ = fitting.recovery(study, cost, whole / 2)
    assert fewer.recovery
    assert 200 <= len(fewer.recovery.prompts) < 600
    assert fewer.recovery.counts == small.counts
    none, sentences = fitting.recovery(study, cost, 1.0)
    assert none.recovery is None
    assert sentences[0].startswith("finetuning (at least ")


def test_timing_is_shortened_and_then_left_out(study: ResolvedStudy, cost: Cost) -> None:
    assert fitting.speed(study, cost, 1e6) == (5, (1, 2))
    assert fitting.speed(study, cost, 0.0) == (0, ())
    repeats, counts = fitting.speed(study, cost, 16 * 48 * 1e-2 * 0.5 * 4 * 2)
    assert (repeats, counts) == (3, (1,))


def budgeted(model: Path, **changes: Any) -> StudyConfig:
    settings: dict[str, Any] = {
        "model": str(model),
        "tasks": ("facts", "facts_choice"),
        "methods": ("reverse", "random"),
        "ratios": (0.2, 0.4),
        "limit": 24,
        "calibration_items": 4,
        "speed_repeats": 3,
        "recovery": {"kinds": ()},
        "budget": 120.0,
    }
    return StudyConfig(**settings | changes)


def test_a_study_within_a_budget_compares_the_same_items_and_resumes_for_nothing(tiny: Path, tmp_path: Path) -> None:
    results = study_of(budgeted(tiny), tmp_path / "run", "it")
    counts = {row.name: row.score.n for row in results.tasks}
    assert set(counts) == {"facts", "facts_choice"}
    assert {row.layer for row in results.sweep} == set(range(6))
    for row in (*results.sweep, *results.pruned):
        assert 8 <= row.score.n <= counts[row.task] == 24
    assert len({(row.task, row.score.n) for row in results.sweep}) == 2
    with Store(tmp_path / "run") as store:
        before, spent = list(store.export()), Artifacts(store).spent
        assert 0 < spent < 120
    again = study_of(budgeted(tiny), tmp_path / "run", "it")
    with Store(tmp_path / "run") as store:
        assert list(store.export()) == before
        assert spent < Artifacts(store).spent
    assert (again.sweep, again.pruned, again.tasks) == (results.sweep, results.pruned, results.tasks)


def test_a_task_is_tried_on_as_many_items_as_fit(study: ResolvedStudy, cost: Cost) -> None:
    (facts,) = [task for task in study.tasks if task.name == "facts"]
    each = cost.response(facts, study.depth)
    tried = [
        fitting.first_items(study, facts, cost, seconds * each, nothing_stored) for seconds in (24.1, 23.9, 8.1, 7.9)
    ]
    assert tried == [24, 8, 8, 0]
    assert fitting.first_items(study, facts, cost, 0.0, lambda *_: 0) == 24


def test_a_class_whose_tasks_are_all_set_aside_gets_its_next_cheapest_one(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = budgeted(tiny, tasks=("facts", "word_problems", "facts_choice"), limit=8)
    chosen = [task for task in resolve(config).tasks if task.name != "word_problems"]
    monkeypatch.setattr(fitting, "base_tasks", lambda *_: tuple(chosen))
    screened = replace(resolve(config), screened=True)
    monkeypatch.setattr("layerlimits.study.pipeline.check_study", lambda *_: screened)
    monkeypatch.setattr(stages, "_reason_to_set_aside", lambda run, task, items: "too hard" * (task.name == "facts"))
    results = study_of(config, tmp_path / "run", "it")
    assert {row.name: row.set_aside for row in results.tasks} == {
        "facts": "too hard",
        "word_problems": None,
        "facts_choice": None,
    }
    assert {row.task for row in results.sweep} == {"word_problems", "facts_choice"}
    assert not any("in the study: word_problems" in warning for warning in results.warnings)


def test_without_time_a_study_says_what_is_left_out(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    results = study_of(budgeted(tiny, budget=600.0, limit=12), out, "it")
    assert not any("Left out" in warning for warning in results.warnings)
    with Store(out) as store:
        Artifacts(store).spent = 10_000.0
    # Nothing is left: stored answers stay, and new ones are not asked for.
    late = study_of(budgeted(tiny, budget=600.0, limit=24), out, "it")
    assert {row.score.n for row in late.sweep} == {12}
    assert {(row.method, row.layers, row.score.n) for row in late.pruned} == {
        (row.method, row.layers, 12) for row in results.pruned
    }
    assert late.speed == results.speed


def test_a_budget_too_short_for_any_task_is_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = Rates(prompt_token=1.0, new_token=10.0)
    monkeypatch.setattr("layerlimits.study.session.rates_of", lambda *_: slow)
    with pytest.raises(UserError, match="the budget is too short for this model on this machine") as refused:
        study_of(budgeted(tiny), tmp_path / "run", "it")
    times = int(refused.value.fix.split()[3])
    assert times > 10
    assert refused.value.fix.startswith("set --budget to ")


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--budget", "12 parsecs"), "'12 parsecs' is not a duration"),
        (("--budget", "5s"), "a budget of 5 seconds is shorter than the probe of the model"),
        (("--select-tasks", "fcats"), "unknown task 'fcats'"),
        (("--select-items", "0"), "select_items"),
    ],
)
def test_bad_flags_are_refused_before_anything_is_written(
    flags: tuple[str, ...], problem: str, tiny: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    assert problem in refused("study", tiny, "--tasks", "facts", *flags, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
