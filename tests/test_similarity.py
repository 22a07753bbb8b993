"""block_influence and angular against streams taken from truncated copies of the model."""

import math
from dataclasses import replace

import pytest
import torch
from oracles import cosine, streams
from torch import nn

from layerlimits.errors import UserError
from layerlimits.evaluation.calibration import calibration
from layerlimits.methods import Context, rank
from layerlimits.methods.angular import angular
from layerlimits.methods.block_influence import block_influence
from layerlimits.models import stream


@pytest.fixture
def seen(context: Context) -> list[list[torch.Tensor]]:
    """The streams h_0 .. h_L of each text."""
    return streams(context.model, context.calibration.ids)


def test_block_influence_equals_the_slow_one_on_every_layer_the_last_included(
    context: Context, seen: list[list[torch.Tensor]]
) -> None:
    slow = []
    for layer in range(6):
        cosines = [
            cosine(before, after) for text in seen for before, after in zip(text[layer], text[layer + 1], strict=True)
        ]
        slow.append(1 - sum(cosines) / len(cosines))
    ranking = block_influence(context)
    assert list(ranking.scores) == pytest.approx(slow, rel=1e-5)
    assert list(ranking.order) == sorted(range(6), key=lambda layer: slow[layer])


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_angular_equals_the_slow_one_for_every_number_of_layers(
    count: int, context: Context, seen: list[list[torch.Tensor]]
) -> None:
    slow = {}
    for start in range(7 - count):
        angles = [math.acos(cosine(text[start][-1], text[start + count][-1])) / math.pi for text in seen]
        slow[start] = sum(angles) / len(angles)
    ranking = angular(replace(context, layers=count))
    scores = {layer: score for layer, score in enumerate(ranking.scores) if score is not None}
    assert scores == pytest.approx(slow, rel=1e-5)
    best = min(slow, key=lambda start: slow[start])
    assert ranking.order == tuple(range(best, best + count))


def test_one_plan_for_each_number_from_one_pass(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    model = context.model
    monkeypatch.setattr(model.base_model, "forward", _counting(model.base_model.forward, passes))
    block_influence(context)
    texts_passed = len(passes)
    whole = angular(replace(context, layers=2))
    for count in range(1, 6):
        assert whole.plan(count) == angular(replace(context, layers=count)).order
    assert texts_passed >= 1
    assert len(passes) == texts_passed


def _counting(forward: object, calls: list[int]) -> object:
    def counted(*args: object, **kwargs: object) -> object:
        calls.append(1)
        return forward(*args, **kwargs)  # type: ignore[operator]  # any callable

    return counted


def test_a_block_holds_no_protected_layer(context: Context) -> None:
    ranking = angular(replace(context, layers=2, protected=(2,)))
    assert [layer for layer, score in enumerate(ranking.scores) if score is not None] == [0, 3, 4]
    assert 2 not in ranking.order


def test_no_block_left_between_protected_layers(context: Context) -> None:
    with pytest.raises(UserError, match="angular selects 0 of 3 layers"):
        rank("angular", replace(context, protected=(1, 4)))


def test_angular_asks_for_a_number(context: Context) -> None:
    with pytest.raises(UserError, match="requires the number of layers"):
        angular(replace(context, layers=None))


def test_an_identity_layer_turns_nothing(context: Context) -> None:
    layer = context.model.model.layers[3]
    nn.init.zeros_(layer.self_attn.o_proj.weight)
    nn.init.zeros_(layer.mlp.down_proj.weight)
    ranking = block_influence(context)
    assert ranking.scores[3] == pytest.approx(0.0, abs=1e-9)
    assert ranking.order[0] == 3
    turned = angular(replace(context, layers=1))
    assert turned.scores[3] == pytest.approx(0.0, abs=1e-7)
    assert turned.order == (3,)


@pytest.mark.parametrize("method", ["block_influence", "angular"])
def test_scores_do_not_depend_on_batches_padding_side_or_order(
    method: str, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = rank(method, context)
    tokenizer = context.tokenizer
    for tokens, side, turn in [(1, "right", 3), (200, "left", 5), (1 << 20, "left", 11)]:
        monkeypatch.setitem(stream._BATCH_TOKENS, "cpu", tokens)
        monkeypatch.setattr(tokenizer, "padding_side", side)
        text = calibration(tokenizer, 24)
        turned = replace(text, ids=text.ids[turn:] + text.ids[:turn])
        # Other texts in another order: nothing is remembered.
        other = rank(method, replace(context, calibration=turned))
        assert other.order == base.order
        for score, expected in zip(other.scores, base.scores, strict=True):
            assert score == (None if expected is None else pytest.approx(expected, rel=1e-5))


@pytest.mark.parametrize("method", ["block_influence", "angular"])
def test_streams_that_are_no_numbers_are_refused(method: str, context: Context) -> None:
    with torch.no_grad():
        context.model.model.layers[2].mlp.down_proj.weight.fill_(float("nan"))
    with pytest.raises(UserError, match=r"block_influence gives layer 2 the score nan|not finite"):
        rank(method, context)


@pytest.mark.parametrize("method", ["block_influence", "angular", "perplexity", "sleb", "interaction", "taylor"])
def test_no_calibration_token_is_refused(method: str, context: Context) -> None:
    empty = replace(context.calibration, ids=((), ()), hashes=("a", "b"))
    with pytest.raises(UserError, match=r"no (calibration )?token"):
        rank(method, replace(context, calibration=empty))
