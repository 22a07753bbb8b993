"""taylor and magnitude against sums written out by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from oracles import double
from small_models import small_llama

from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import Store
from layerlimits.methods import Context, rank
from layerlimits.methods.magnitude import magnitude
from layerlimits.methods.taylor import taylor
from layerlimits.models.load import Loaded

MATRICES = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
MATRICES += ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
NORMS = ["input_layernorm", "post_attention_layernorm"]


@pytest.mark.parametrize(("p", "norms"), [(1, False), (2, False), (1, True)])
def test_magnitude_equals_the_sum_by_hand(p: int, norms: bool, context: Context) -> None:
    weights = dict(context.model.named_parameters())
    slow = []
    for layer in range(6):
        names = MATRICES + (NORMS if norms else [])
        entries = [weights[f"model.layers.{layer}.{name}.weight"].double().flatten().tolist() for name in names]
        slow.append(sum(abs(value) ** p for values in entries for value in values))
    ranking = magnitude(context, p=p, norms=norms)
    assert list(ranking.scores) == pytest.approx(slow, rel=1e-9)
    assert list(ranking.order) == sorted(range(6), key=lambda layer: slow[layer])


@pytest.mark.parametrize("norms", [False, True])
def test_taylor_equals_gradients_of_one_text_at_a_time_in_float64(norms: bool, context: Context) -> None:
    network = double(context.model)
    text = context.calibration
    tokens = sum(len(ids) - start for ids, start in zip(text.ids, text.starts, strict=True))
    for ids, start in zip(text.ids, text.starts, strict=True):
        inputs = torch.tensor([ids])
        likely = network(inputs, use_cache=False).logits[0, start - 1 : -1].log_softmax(-1)
        (-likely.gather(1, inputs[0, start:, None]).sum() / tokens).backward()
    weights = dict(network.named_parameters())
    slow = []
    for layer in range(6):
        chosen = [weights[f"model.layers.{layer}.{name}.weight"] for name in MATRICES + (NORMS if norms else [])]
        slow.append(sum(float((weight * weight.grad).detach().abs().sum()) for weight in chosen))
    ranking = taylor(context, norms=norms)
    assert list(ranking.scores) == pytest.approx(slow, rel=1e-5)
    assert list(ranking.order) == sorted(range(6), key=lambda layer: slow[layer])


def test_taylor_leaves_the_model_as_it_was(context: Context) -> None:
    model = context.model
    frozen = model.model.layers[0].self_attn.q_proj.weight
    frozen.requires_grad_(False)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    taylor(context)
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())
    assert all(weight.grad is None for weight in model.parameters())
    assert not frozen.requires_grad


@pytest.mark.parametrize("method", ["taylor", "magnitude"])
def test_the_plus_rule_is_off_unless_asked_for(method: str, context: Context) -> None:
    assert len(rank(method, context).order) == 6
    with pytest.raises(UserError, match=rf"{method}:plus=true selects 0 of 3 layers"):
        rank(f"{method}:plus=true", context)


def test_the_plus_rule_protects_the_first_four_and_the_last_two(
    context: Context, loaded: Loaded, tmp_path: Path
) -> None:
    deep = Evaluator(replace(loaded, model=small_llama(9).eval(), depth=9), Store(tmp_path / "deep"))
    ranking = rank("magnitude:plus=yes:p=2", Context(deep, 2, context.calibration, protected=(5,)))
    assert ranking.method == "magnitude:plus=yes:p=2"
    assert sorted(ranking.order) == [4, 6]


def test_taylor_on_a_quantized_model(context: Context) -> None:
    layer = context.model.model.layers[1].mlp.down_proj
    layer.weight = torch.nn.Parameter(layer.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(UserError, match=r"taylor needs gradients.*model.layers.1.mlp.down_proj.weight is torch.int8"):
        taylor(context)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("magnitude:q=2", "unknown option of magnitude"),
        ("magnitude:p=two", "invalid value 'two' for option p of magnitude: expected int"),
        ("taylor:plus=perhaps", "invalid value 'perhaps' for option plus of taylor: expected bool"),
        ("perplexity:p=1", "method perplexity takes no options"),
    ],
)
def test_options_that_do_not_exist_or_fit(spec: str, words: str, context: Context) -> None:
    with pytest.raises(UserError, match=words):
        rank(spec, context)
