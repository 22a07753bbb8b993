"""Losses whose perplexity overflows: layers are ordered by loss, infinite losses last, and the JSON stays valid."""

import json
import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import deleted, loss
from safetensors.torch import load_file, save_file

from layerlimits.cli import main
from layerlimits.errors import UserError
from layerlimits.evaluation.calibration import calibration
from layerlimits.methods import Context, by_rounds, by_score, rank
from layerlimits.methods import chain_loss as chain
from layerlimits.types import Ranking

INF, NAN = math.inf, math.nan


def _strict(text: str) -> Any:
    """Strict JSON, without NaN and Infinity."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.fixture
def short(context: Context, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Four texts, which chain_loss uses as correct answers."""
    few = replace(context, calibration=calibration(context.tokenizer, 4))
    monkeypatch.setattr(chain, "_worked_answers", lambda _: (list(few.calibration.texts), []))
    return few


def _loud(context: Context, factor: float = 3000.0) -> list[float]:
    """A model with every loss above 709 nats, and the losses without each layer, computed separately."""
    model: Any = context.model
    with torch.no_grad():
        model.lm_head.weight *= factor
    text = context.calibration
    return [loss(deleted(model, (layer,)), text.ids, text.starts) for layer in range(6)]


def test_perplexity_orders_by_loss_what_no_float_can_hold(short: Context) -> None:
    losses = _loud(short)
    assert min(losses) > 709
    ranking = rank("perplexity", short)
    assert ranking.scores == (INF,) * 6
    assert list(ranking.order) == sorted(range(6), key=lambda layer: losses[layer])


def test_losses_on_both_sides_of_the_limit(short: Context) -> None:
    losses = _loud(short)
    with torch.no_grad():
        short.model.lm_head.weight *= 709.0 / sorted(losses)[2]
    ranking = rank("perplexity", short)
    assert 1 <= sum(score == INF for score in ranking.scores) <= 5
    assert list(ranking.order) == sorted(range(6), key=lambda layer: losses[layer])


@pytest.mark.parametrize("method", ["sleb", "interaction", "chain_loss", "taylor"])
def test_the_other_methods_take_large_losses_too(method: str, short: Context) -> None:
    losses = _loud(short)
    ranking = rank(method, short)
    scores = [score for score in ranking.scores if score is not None]
    assert len(scores) == 6
    assert torch.tensor(scores).isfinite().all()
    if method != "taylor":
        assert ranking.order[0] == min(range(6), key=lambda layer: losses[layer])


def _masking_without(context: Context, layer: int) -> None:
    """Make the model assign probability 0 to the first text's tokens when this layer is removed."""
    model: Any = context.model
    masked = torch.tensor(sorted(set(context.calibration.texts[0].ids)))
    marks = torch.nn.functional.one_hot(torch.tensor(0), 32) * 1000.0
    seen: dict[str, torch.Tensor] = {}
    model.model.layers[layer].mlp.register_forward_hook(lambda _, __, output: output + marks)
    model.model.norm.register_forward_pre_hook(lambda _, given: seen.update(marked=given[0][..., :1] > 500))
    model.lm_head.register_forward_hook(
        lambda _, __, logits: torch.where(seen["marked"], logits, logits.index_fill(-1, masked, -INF))
    )


@pytest.mark.parametrize("method", ["perplexity", "sleb", "interaction", "chain_loss"])
def test_a_layer_without_which_the_loss_is_infinite_goes_last(method: str, short: Context) -> None:
    _masking_without(short, 1)
    ranking = rank(method, replace(short, layers=5))
    assert ranking.scores[1] == INF
    assert sum(score == INF for score in ranking.scores) == 1
    assert 1 not in ranking.order[:5]
    again = rank(method, replace(short, layers=5))
    assert again == ranking
    _strict(json.dumps(ranking.detail))
    for (content,) in short._evaluator.store._db.execute("SELECT content FROM artifacts WHERE name != 'clock'"):
        _strict(content)


@pytest.mark.parametrize("method", ["perplexity", "sleb", "interaction", "chain_loss", "taylor"])
def test_losses_that_are_no_numbers_are_refused_and_not_kept(method: str, short: Context) -> None:
    model: Any = short.model
    with torch.no_grad():
        model.model.layers[4].mlp.down_proj.weight[0, 0] = NAN
    with pytest.raises(UserError, match="not numbers"):
        rank(method, short)
    assert not list(short._evaluator.store._db.execute("SELECT content FROM artifacts WHERE name != 'clock'"))


def test_recorded_scores_may_be_infinite_but_not_undefined(short: Context) -> None:
    assert by_score("mine", [3.0, INF, 1.0, INF, 2.0], ()).order == (2, 4, 0, 3, 1)
    assert by_score("mine", [INF, None, 1.0], (1,)).order == (2, 0)
    for wrong in (NAN, -INF, None):
        with pytest.raises(UserError, match=f"mine gives layer 1 the score {wrong}"):
            by_score("mine", [3.0, wrong, 1.0], ())
    with pytest.raises(UserError, match="mine gives every layer the score inf, so the layers cannot be ranked"):
        by_score("mine", [INF, INF], ())

    def rounds(worst: float, **more: Any) -> Ranking:
        return by_rounds(
            "mine", short, (), lambda _, left: {layer: worst if layer == 5 else float(layer) for layer in left}, **more
        )

    assert rounds(INF).order == (0, 1, 2)
    assert rounds(-INF, largest_first=True).order == (4, 3, 2)
    with pytest.raises(UserError, match="layer 5 the score inf"):
        rounds(INF, largest_first=True)


def test_the_command_line_shows_inf_and_writes_null(
    tiny: Path, tmp_path: Path, says: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "loud"))
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] *= 3000
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    result = says("rank", folder, "--method", "perplexity", "--items", "4")
    assert result["scores"] == [None] * 6
    assert result["infinite"] == list(range(6))
    assert sorted(result["order"]) == list(range(6))
    both = says("rank", folder, "--method", "perplexity,reverse", "--items", "4")
    assert both["rankings"]["perplexity"]["order"] == result["order"]
    assert both["rankings"]["reverse"]["infinite"] == []
    options = ["--method", "perplexity", "--layers", "2", "--items", "4", "--out", tmp_path / "out"]
    assert sorted(says("prune", folder, *options)["removed"]) == sorted(result["order"][:2])
    assert _strict((tmp_path / "out" / "layerlimits.json").read_text())["scores"] == [None] * 6

    monkeypatch.setattr(sys, "argv", ["layerlimits", "rank", str(folder), "--method", "perplexity", "--items", "4"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out.count(" inf ") == 6
