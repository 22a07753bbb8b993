"""perplexity, sleb, interaction and chain_loss against copies of the model with modules deleted, in float64."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import deleted, loss
from torch import nn

from layerlimits.errors import UserError
from layerlimits.evaluation.calibration import calibration
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import Store
from layerlimits.methods import Context, rank
from layerlimits.methods.chain_loss import chain_loss
from layerlimits.methods.interaction import interaction
from layerlimits.methods.perplexity import perplexity
from layerlimits.methods.sleb import sleb
from layerlimits.models import stream
from layerlimits.models.load import Loaded, load
from layerlimits.models.losses import losses_without, pair_losses
from layerlimits.tasks import choose
from layerlimits.types import Text


@pytest.fixture
def short(context: Context) -> Context:
    """Eight texts, since the reference computation is slow."""
    return replace(context, calibration=calibration(context.tokenizer, 8))


def _slow(context: Context, gone: tuple[int, ...]) -> float:
    text = context.calibration
    return loss(deleted(context.model, gone), text.ids, text.starts)


def _close(actual: object, expected: object) -> None:
    assert actual == pytest.approx(expected, rel=1e-5)


def test_perplexity_equals_the_slow_one(short: Context) -> None:
    slow = [math.exp(_slow(short, (layer,))) for layer in range(6)]
    ranking = perplexity(short)
    _close(list(ranking.scores), slow)
    assert list(ranking.order) == sorted(range(6), key=lambda layer: slow[layer])


def test_without_an_identity_layer_perplexity_is_the_models_own(short: Context) -> None:
    layer = short.model.model.layers[2]
    nn.init.zeros_(layer.self_attn.o_proj.weight)
    nn.init.zeros_(layer.mlp.down_proj.weight)
    _close(perplexity(short).scores[2], math.exp(_slow(short, ())))


def test_sleb_equals_the_slow_greedy_loop(short: Context) -> None:
    removed: list[int] = []
    rounds = []
    for _ in range(3):
        losses = {layer: _slow(short, (*removed, layer)) for layer in range(6) if layer not in removed}
        rounds.append(losses)
        removed.append(min(losses, key=lambda layer: losses[layer]))
    ranking = sleb(short)
    assert list(ranking.order) == removed
    _close(dict(enumerate(ranking.scores)), rounds[0])
    for scores, slow in zip(ranking.detail["rounds"], rounds, strict=True):
        _close(scores, {str(layer): loss for layer, loss in slow.items()})


def test_interaction_equals_the_slow_surrogate(short: Context) -> None:
    whole = _slow(short, ())
    alone = [_slow(short, (layer,)) for layer in range(6)]
    pairs = {(i, j): _slow(short, (i, j)) for i in range(6) for j in range(i + 1, 6)}
    own = [loss - whole for loss in alone]
    together = {(i, j): both - alone[i] - alone[j] + whole for (i, j), both in pairs.items()}
    removed: list[int] = []
    for _ in range(3):
        costs = {
            layer: own[layer] + sum(together[min(layer, gone), max(layer, gone)] for gone in removed)
            for layer in range(6)
            if layer not in removed
        }
        removed.append(min(costs, key=lambda layer: costs[layer]))
    ranking = interaction(short)
    assert list(ranking.order) == removed
    # A difference of losses near 5, so the tolerance is relative to the losses themselves.
    assert list(ranking.scores) == pytest.approx(own, abs=1e-5 * whole)
    assert {(i, j) for i, j, _ in ranking.detail["pairs"]} == set(together)
    for i, j, cost in ranking.detail["pairs"]:
        assert cost == pytest.approx(together[i, j], abs=1e-5 * whole)


def test_sleb_keeps_the_first_and_the_last_layer_if_asked(short: Context) -> None:
    kept = rank("sleb:ends=false", replace(short, layers=4, protected=()))
    assert set(kept.order) == {1, 2, 3, 4}
    assert kept.protected == (0, 5)
    assert {0, 5} & set(rank("sleb", replace(short, layers=5, protected=())).order)


@pytest.mark.parametrize("method", ["perplexity", "sleb", "interaction", "taylor"])
def test_scores_do_not_depend_on_batches_padding_side_or_order(
    method: str, short: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = rank(method, short)
    tokenizer = short.tokenizer
    for tokens, side, turn in [(1, "right", 3), (300, "left", 5), (1 << 20, "left", 6)]:
        monkeypatch.setitem(stream._BATCH_TOKENS, "cpu", tokens)
        monkeypatch.setattr(tokenizer, "padding_side", side)
        text = calibration(tokenizer, 8)
        turned = replace(text, ids=text.ids[turn:] + text.ids[:turn], starts=text.starts[turn:] + text.starts[:turn])
        other = rank(method, replace(short, calibration=turned))
        assert other.order == base.order
        scale = 1e-5 if method == "interaction" else 0
        assert list(other.scores) == pytest.approx(list(base.scores), rel=1e-5, abs=scale)


def test_protected_layers_are_not_even_scored(short: Context) -> None:
    for method in ("perplexity", "sleb", "interaction"):
        ranking = rank(method, replace(short, protected=(0, 4), layers=2))
        assert [layer for layer, score in enumerate(ranking.scores) if score is None] == [0, 4]
        assert not {0, 4} & set(ranking.order)


def test_a_killed_ranking_finds_its_rounds_again(short: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sleb(short)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("layerlimits.methods._losses.losses_without", refuse)
    assert sleb(short) == whole
    with pytest.raises(AssertionError, match="computed again"):
        sleb(replace(short, layers=4))


def test_in_a_conversation_only_the_answer_is_to_be_predicted(loaded: Loaded, tmp_path: Path) -> None:
    file = tmp_path / "text.jsonl"
    file.write_text('{"prompt": "What is 2 + 3?", "response": "5"}\n{"text": "The ferry is red."}\n')
    text = calibration(loaded.tokenizer, 2, file)
    talk, plain = text.texts
    answer = loaded.tokenizer.decode(talk.ids[talk.start :])
    assert answer.startswith("5")
    assert "What" not in answer
    assert plain.start == 1
    tokenizer: Any = loaded.tokenizer
    tokenizer.chat_template = None
    bare = calibration(tokenizer, 2, file).texts[0]
    assert tokenizer.decode(bare.ids[bare.start :]).startswith("5")


def test_only_tokens_from_the_start_on_count(loaded: Loaded) -> None:
    texts = [tuple(range(5, 30)), tuple(range(40, 52))]
    starts = [20, 3]
    whole, without = losses_without(
        loaded.model, [Text(ids, start) for ids, start in zip(texts, starts, strict=True)], (1, 4)
    )
    _close(whole, loss(deleted(loaded.model, ()), texts, starts))
    _close(without[4], loss(deleted(loaded.model, (4,)), texts, starts))
    assert whole != pytest.approx(loss(deleted(loaded.model, ()), texts), rel=1e-3)


def test_pairs_agree_with_single_removals(loaded: Loaded) -> None:
    texts = [Text(tuple(range(5, 30))), Text((9,)), Text(tuple(range(40, 52)))]
    whole, alone, both = pair_losses(loaded.model, texts, (0, 2, 5))
    assert (whole, alone) == losses_without(loaded.model, texts, (0, 2, 5))
    assert set(both) == {(0, 2), (0, 5), (2, 5)}
    _close(both[2, 5], loss(deleted(loaded.model, (2, 5)), [texts[0].ids, texts[2].ids]))


@pytest.fixture(scope="module")
def able(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """The bundled model, which answers correctly."""
    model = load("reference", device="cpu")
    store = Store(tmp_path_factory.mktemp("able"))
    text = calibration(model.tokenizer, 4)
    return Context(Evaluator(model, store), 2, text, tuple(choose(["brackets", "word_problems", "facts_choice"])), 3)


def test_chain_loss_is_the_rise_on_the_models_own_right_answers(able: Context) -> None:
    network: Any = able.model
    tokenizer: Any = able.tokenizer
    texts, starts = [], []
    for task in choose(["brackets", "word_problems"]):
        for sample in task.samples("select", 3, None):
            ids = tokenizer.apply_chat_template(sample.messages, add_generation_prompt=True)["input_ids"]
            with torch.no_grad():
                answer = network.generate(
                    torch.tensor([ids]), max_new_tokens=task.max_new_tokens, do_sample=False, use_cache=True
                )[0, len(ids) :].tolist()
            ends = network.generation_config.eos_token_id
            answer = answer[: answer.index(ends)] if ends in answer else answer
            verdict = task.score(sample, _response(tokenizer.decode(answer)))
            if verdict.outcome == "correct":
                texts.append([*ids, *answer])
                starts.append(len(ids))
    assert len(texts) >= 3
    whole = loss(deleted(network, ()), texts, starts)
    slow = [loss(deleted(network, (layer,)), texts, starts) - whole for layer in range(12)]
    ranking = chain_loss(able)
    assert ranking.detail["answers"] == len(texts)
    assert list(ranking.scores) == pytest.approx(slow, rel=1e-5, abs=1e-6)
    assert list(ranking.order) == sorted(range(12), key=lambda layer: slow[layer])
    assert len(ranking.used) == 6


def _response(text: str) -> Any:
    from layerlimits.types import Response

    return Response(text, (), "stop")


def test_chain_loss_needs_a_right_answer(context: Context) -> None:
    with pytest.raises(UserError, match=r"no correct answer among 0 selection items \(no generation task\)"):
        chain_loss(context)
    with pytest.raises(UserError, match=r"among 2 selection items \(brackets\)"):
        chain_loss(replace(context, tasks=tuple(choose(["brackets"])), items=2))
