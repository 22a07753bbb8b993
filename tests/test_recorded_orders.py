"""Orders that the authors of Shortened LLaMA recorded for models of 2 to 13 billion parameters.

The scores of single weights are theirs (`recorded_orders.json`, with its source); the choice of the weights that count,
the sums, and the order are ours.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GemmaConfig, GemmaForCausalLM, LlamaConfig, LlamaForCausalLM

from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import Store
from layerlimits.methods import Context, rank
from layerlimits.models.load import Loaded
from layerlimits.types import Ranking

RECORDED: list[dict[str, Any]] = json.loads(Path(__file__).with_name("recorded_orders.json").read_text())["recorded"]
BY_WEIGHTS = [record for record in RECORDED if record["method"] != "perplexity"]
BY_LOSS = [record for record in RECORDED if record["method"] == "perplexity"]
Ranks = Callable[[dict[str, Any], str], Ranking]


def name(record: dict[str, Any]) -> str:
    return f"{record['model']}-{record['method']}"


def tiny(record: dict[str, Any]) -> Any:
    """A model of the recorded model's depth and architecture, in float64."""
    kind, config = (GemmaForCausalLM, GemmaConfig) if "gemma" in record["model"] else (LlamaForCausalLM, LlamaConfig)
    shape = {"hidden_size": 4, "intermediate_size": 4, "num_attention_heads": 1, "num_key_value_heads": 1}
    shape |= {"head_dim": 4, "vocab_size": 8, "num_hidden_layers": len(record["order"])}
    return kind(config(**shape)).double().eval()


@pytest.fixture
def ranks(loaded: Loaded, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ranks:
    """Rank the layers of a model, each of whose weights has the recorded score."""

    def call(record: dict[str, Any], options: str = "") -> Ranking:
        model = tiny(record)
        with torch.no_grad():
            for weight, value in model.named_parameters():
                value.zero_()
                _, found, rest = weight.partition("model.layers.")
                if found:
                    layer, _, path = rest.removesuffix(".weight").partition(".")
                    # Signs do not matter.
                    value.view(-1)[-1] = -record["scores"][path][int(layer)]
        # With gradients of 1, a weight has the recorded score |W * G|; test_weight_methods.py checks the gradients.
        monkeypatch.setattr(
            "layerlimits.methods.taylor._gradients",
            lambda _, weights, __: [torch.ones_like(weight) for weight in weights],
        )
        evaluator = Evaluator(
            replace(loaded, model=model, depth=len(record["order"])), Store(tmp_path / f"{name(record)}{options}")
        )
        return rank(f"{record['method']}{options}", replace(context, _evaluator=evaluator, layers=None))

    return call


@pytest.mark.parametrize("record", BY_WEIGHTS, ids=name)
def test_taylor_and_magnitude_give_the_recorded_order(record: dict[str, Any], ranks: Ranks) -> None:
    ranking = ranks(record, "")
    assert list(ranking.order) == record["order"]
    sums = [sum(weights) for weights in zip(*record["scores"].values(), strict=True)]
    # Up to a factor: taylor is the mean over tokens.
    assert [score / ranking.scores[0] for score in ranking.scores] == pytest.approx([value / sums[0] for value in sums])


def test_without_norms_half_of_the_recorded_orders_differ(ranks: Ranks) -> None:
    other = [name(record) for record in BY_WEIGHTS if list(ranks(record, ":norms=false").order) != record["order"]]
    assert len(BY_WEIGHTS) == 12
    assert len(other) == 6
    assert {other_name.rsplit("-", 1)[1] for other_name in other} == {"magnitude", "taylor"}


@pytest.mark.parametrize("record", BY_LOSS, ids=name)
def test_perplexity_gives_the_recorded_order(
    record: dict[str, Any], context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    perplexities = [float("inf") if value is None else value for value in record["scores"]["perplexity"]]
    losses = torch.tensor(perplexities, dtype=torch.float64).log().tolist()
    monkeypatch.setattr("layerlimits.methods.perplexity.losses", lambda *_: dict(enumerate(losses)))
    loaded = replace(context._evaluator.loaded, model=tiny(record), depth=len(losses))
    evaluator = Evaluator(loaded, context._evaluator.store)
    order = list(rank("perplexity", replace(context, _evaluator=evaluator, layers=None)).order)
    # Equal perplexities: theirs keep the order of the layers, ours remove the later layer first.
    ties = {layer for layer, value in enumerate(perplexities) if perplexities.count(value) > 1}
    assert [layer for layer in order if layer not in ties] == [layer for layer in record["order"] if layer not in ties]
    assert [perplexities[layer] for layer in order] == [perplexities[layer] for layer in record["order"]]
