"""task_score against a slow greedy search, and the methods that need no data."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from layerlimits.errors import UserError
from layerlimits.evaluation.calibration import calibration
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import Store
from layerlimits.methods import Context, rank
from layerlimits.methods.random import random
from layerlimits.methods.reverse import reverse
from layerlimits.methods.task_score import task_score
from layerlimits.models.load import Loaded, load
from layerlimits.tasks import choose


def _accuracy(loaded: Loaded, gone: tuple[int, ...], context: Context) -> list[float]:
    """The tasks' accuracies of a copy without the layers, one item at a time, without cache or padding."""
    network = copy.deepcopy(loaded.model)
    network.model.layers = nn.ModuleList(
        layer for number, layer in enumerate(network.model.layers) if number not in gone
    )
    accuracies = []
    for task in context.tasks:
        right = 0
        samples = task.samples("select", context.items, None)
        for sample in samples:
            ids = loaded.tokenizer.apply_chat_template(sample.messages, add_generation_prompt=True)["input_ids"]
            weighed = []
            for choice in sample.choices:
                answer = loaded.tokenizer(choice, add_special_tokens=False)["input_ids"]
                with torch.no_grad():
                    likely = network(torch.tensor([[*ids, *answer]]), use_cache=False).logits[0].log_softmax(-1)
                weighed.append(
                    sum(likely[len(ids) + position - 1, token].item() for position, token in enumerate(answer))
                )
            right += sample.choices[weighed.index(max(weighed))] == sample.target
        accuracies.append(right / len(samples))
    return accuracies


def test_task_score_equals_the_slow_greedy_search(context: Context, loaded: Loaded) -> None:
    base = _accuracy(loaded, (), context)
    removed: list[int] = []
    first: dict[int, float] = {}
    for _ in range(context.rounds):
        scores = {}
        for layer in range(1, loaded.depth):
            if layer not in removed:
                accuracies = _accuracy(loaded, (*removed, layer), context)
                scores[layer] = sum(have / had for have, had in zip(accuracies, base, strict=True)) / len(base)
        first = first or scores
        # Ties go to the later layer.
        removed.append(max(sorted(scores, reverse=True), key=lambda layer: round(scores[layer], 9)))
    ranking = task_score(context)
    assert list(ranking.order) == removed
    assert ranking.scores[0] is None
    assert {layer: score for layer, score in enumerate(ranking.scores) if score is not None} == pytest.approx(first)


def test_protecting_replaces_the_methods_own_protection(context: Context) -> None:
    ranking = task_score(replace(context, layers=1, protected=(2,)))
    assert ranking.scores[2] is None
    assert ranking.scores[0] is not None


def test_racing_saves_answers_and_changes_no_plan(tmp_path: Path) -> None:
    loaded = load("reference", device="cpu")
    text = calibration(loaded.tokenizer, 8)
    tasks = tuple(choose(["facts_choice", "brackets"]))
    plans, asked = [], []
    for error in (0.0, 0.05):
        context = Context(Evaluator(loaded, Store(tmp_path / str(error))), 2, text, tasks, 24, protected=())
        ranking = rank(f"task_score:error={error}", context)
        plans.append(ranking.order)
        asked.append(ranking.detail["race"])
    assert plans[0] == plans[1]
    assert asked[0]["asked"] == asked[0]["of"] == asked[1]["of"] == (12 + 11) * 2 * 24
    assert asked[1]["asked"] < asked[1]["of"]


def test_an_error_that_is_no_probability_is_refused(context: Context) -> None:
    with pytest.raises(UserError, match="error 1 is outside"):
        rank("task_score:error=1", context)


def test_task_score_needs_a_task_the_model_can_do(context: Context) -> None:
    impossible = tuple(replace(task, score=_nothing) for task in choose(["facts_choice"]))
    with pytest.raises(UserError, match="scores 0 on every task"):
        task_score(replace(context, tasks=impossible))


def _nothing(*_: object) -> object:
    from layerlimits.types import Verdict

    return Verdict("wrong", 0.0)


def test_reverse_starts_at_the_end(context: Context) -> None:
    assert reverse(context).order == (5, 4, 3, 2, 1, 0)
    assert reverse(replace(context, protected=(5, 1))).order == (4, 3, 2, 0)


def test_random_follows_its_seed(context: Context) -> None:
    orders = {random(replace(context, seed=seed)).order for seed in range(12)}
    assert len(orders) > 6
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert random(context).order == random(context).order


def test_select_items_are_recorded_and_never_the_evaluated_ones(context: Context) -> None:
    used = set(task_score(replace(context, layers=1)).used)
    assert len(used) == 64
    assert not used & {sample.id for task in context.tasks for sample in task.samples("evaluate", 500, None)}
