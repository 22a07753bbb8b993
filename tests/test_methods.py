"""Methods against slow oracles written the obvious way: cut the module out, run the stock model, sort."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from layerlimits.calibration import Calibration, calibration
from layerlimits.errors import UserError
from layerlimits.evaluate import Evaluator
from layerlimits.methods import Context
from layerlimits.methods.block_influence import block_influence
from layerlimits.methods.random import random
from layerlimits.methods.reverse import reverse
from layerlimits.methods.task_score import task_score
from layerlimits.models.load import Loaded
from layerlimits.store import Store
from layerlimits.tasks import choose


@pytest.fixture
def context(loaded: Loaded, tmp_path: Path) -> Context:
    text = calibration(loaded.tokenizer, 24)
    return Context(Evaluator(loaded, Store(tmp_path)), 3, text, tuple(choose(["facts_choice", "inference_choice"])), 32)


def _slow_block_influence(loaded: Loaded, text: Calibration) -> list[float]:
    """One text at a time, no padding, the stream taken by hand from a stack run layer by layer."""
    network = loaded.model.double()
    sums, tokens = [0.0] * loaded.depth, 0
    for ids in text.ids:
        inputs = torch.tensor([ids])
        stream = network.model.embed_tokens(inputs)
        at = torch.arange(len(ids))[None]
        turned = network.model.rotary_emb(stream, at)
        causal = torch.full((len(ids), len(ids)), float("-inf"), dtype=torch.float64).triu(1)[None, None]
        for number, layer in enumerate(network.model.layers):
            after = layer(stream, attention_mask=causal, position_ids=at, position_embeddings=turned)
            after = after if isinstance(after, torch.Tensor) else after[0]
            for before_token, after_token in zip(stream[0], after[0], strict=True):
                dot = before_token @ after_token
                sums[number] += float(dot / before_token.norm() / after_token.norm())
            stream = after
        tokens += len(ids)
    return [1 - total / tokens for total in sums]


@torch.no_grad()
def test_block_influence_equals_the_slow_one_on_every_layer_the_last_included(context: Context) -> None:
    fast = block_influence(context)
    slow = _slow_block_influence(copy.copy(context.evaluator.loaded), context.calibration)
    assert list(fast.scores) == pytest.approx(slow, rel=1e-4, abs=1e-6)
    assert list(fast.order) == sorted(range(6), key=lambda layer: slow[layer])


@pytest.mark.parametrize("turn", [lambda ids: ids[::-1], lambda ids: ids[5:] + ids[:5]])
def test_block_influence_does_not_depend_on_the_order_of_the_texts(context: Context, turn: object) -> None:
    assert callable(turn)
    turned = replace(context, calibration=replace(context.calibration, ids=turn(context.calibration.ids)))
    assert block_influence(turned).scores == pytest.approx(block_influence(context).scores, rel=1e-5)


def test_an_identity_layer_has_no_influence(context: Context) -> None:
    layer = context.evaluator.loaded.model.model.layers[3]
    nn.init.zeros_(layer.self_attn.o_proj.weight)
    nn.init.zeros_(layer.mlp.down_proj.weight)
    ranking = block_influence(context)
    assert ranking.scores[3] == pytest.approx(0.0, abs=1e-9)
    assert ranking.order[0] == 3


def test_scores_that_are_no_numbers_are_refused(context: Context) -> None:
    with torch.no_grad():
        context.evaluator.loaded.model.model.layers[2].mlp.down_proj.weight.fill_(float("nan"))
    with pytest.raises(UserError, match="block_influence gives layer 2 the score nan"):
        block_influence(context)


def _accuracy(loaded: Loaded, gone: tuple[int, ...], context: Context) -> list[float]:
    """The tasks' accuracies of a copy whose layers are cut out, one item at a time, without cache or padding."""
    network = copy.deepcopy(loaded.model)
    network.model.layers = nn.ModuleList(
        layer for number, layer in enumerate(network.model.layers) if number not in gone
    )
    found = []
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
                weighed.append(sum(likely[len(ids) + at - 1, token].item() for at, token in enumerate(answer)))
            right += sample.choices[weighed.index(max(weighed))] == sample.target
        found.append(right / len(samples))
    return found


def test_task_score_equals_the_slow_greedy_search(context: Context) -> None:
    loaded = context.evaluator.loaded
    base = _accuracy(loaded, (), context)
    removed: list[int] = []
    first: dict[int, float] = {}
    for _ in range(context.rounds):
        scores = {}
        for layer in range(1, loaded.depth):
            if layer not in removed:
                kept = _accuracy(loaded, (*removed, layer), context)
                scores[layer] = sum(have / had for have, had in zip(kept, base, strict=True)) / len(base)
        first = first or scores
        # Ties go to the later layer.
        removed.append(max(sorted(scores, reverse=True), key=lambda layer: round(scores[layer], 9)))
    ranking = task_score(context)
    assert list(ranking.order) == removed
    assert ranking.scores[0] is None
    assert {layer: score for layer, score in enumerate(ranking.scores) if score is not None} == pytest.approx(first)


def test_protecting_replaces_the_methods_own_protection(context: Context) -> None:
    ranking = task_score(replace(context, rounds=1, protected=(2,)))
    assert ranking.scores[2] is None
    assert ranking.scores[0] is not None


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
    used = set(task_score(replace(context, rounds=1)).used)
    assert len(used) == 64
    assert not used & {sample.id for task in context.tasks for sample in task.samples("evaluate", 500, None)}
