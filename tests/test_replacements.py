"""Every replacement against the same change computed by hand, on several architectures."""

import copy
import inspect
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import tiny_model
from replacement_fixtures import TEXTS, busy, changed_layers, layers, logits, streams, weights
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.remove import remove
from layerlimits.replacements import ReplacementContext
from layerlimits.replacements.compensate import compensate
from layerlimits.replacements.laco import laco
from layerlimits.replacements.linear import linear
from layerlimits.replacements.none import none
from layerlimits.replacements.streamline import streamline

ALL = {"none": none, "laco": laco, "linear": linear, "streamline": streamline, "compensate": compensate}

# laco


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_laco_is_the_published_equation_on_every_parameter(name: str) -> None:
    model = busy(name)
    before = copy.deepcopy(model)
    assert laco(ReplacementContext(model, (1, 3, 4), ())) == {"form": "paper", "merges": [[0, [1]], [2, [3, 4]]]}
    theta = [weights(layer) for layer in layers(before)]
    for into, absorbed in ((0, (1,)), (2, (3, 4))):
        for key, merged in layers(model)[into].named_parameters():
            by_hand = theta[into][key] + sum(theta[other][key] - theta[into][key] for other in absorbed)
            assert torch.allclose(merged.double(), by_hand, atol=1e-6)
            # Plain dropping would have left it.
            assert not torch.allclose(merged.double(), theta[into][key], atol=1e-2)
    assert changed_layers(before, model) == {0, 2}


@pytest.mark.parametrize("name", ["llama", "gpt2", "mixtral"])
def test_laco_as_the_authors_code_takes_the_matrices_of_the_last_merged_layer(name: str) -> None:
    model = busy(name)
    theta = [weights(layer) for layer in layers(copy.deepcopy(model))]
    assert laco(ReplacementContext(model, (1, 3, 4), ()), form="code")["form"] == "code"
    for into, last in ((0, 1), (2, 4)):
        for key, merged in layers(model)[into].named_parameters():
            assert torch.equal(merged.double(), theta[last if merged.dim() > 1 else into][key])


def test_laco_follows_the_merges_that_the_method_chose_each_on_the_weights_the_last_one_left() -> None:
    model = busy("llama")
    theta = [weights(layer) for layer in layers(model)]
    laco(ReplacementContext(model, (2, 3, 4), (), merges=((3, (4,)), (1, (2, 3)))))
    for key, merged in layers(model)[1].named_parameters():
        third = theta[4][key]
        by_hand = theta[1][key] + (theta[2][key] - theta[1][key]) + (third - theta[1][key])
        assert torch.allclose(merged.double(), by_hand, atol=1e-6)


def test_laco_refuses_layers_of_different_form_and_merges_of_other_layers() -> None:
    model = tiny_model("lfm2")
    before = copy.deepcopy(model)
    with pytest.raises(UserError, match="layers 2 and 3 cannot be merged, because their parameters differ: "):
        laco(ReplacementContext(model, (3,), ()))
    assert not changed_layers(before, model)
    with pytest.raises(UserError, match=r"absorb layers \[4\], but the removed layers are \[3, 4\]"):
        laco(ReplacementContext(tiny_model("llama"), (3, 4), (), merges=((2, (4,)),)))


# compensate

_COMPENSATED = (
    "llama qwen3 gemma gemma2 gemma3_text gpt2 gpt_neox falcon cohere2 opt granite mixtral deepseek_v3 gpt_oss lfm2 "
    "afmoe gemma4_text recurrent_gemma"
).split()


def growth(model: PreTrainedModel, first: int, last: int) -> float:
    stream = streams(model)
    return float(stream[last + 1].norm(dim=-1).mean() / stream[first].norm(dim=-1).mean())


@pytest.mark.parametrize("name", _COMPENSATED)
def test_compensate_equals_multiplying_the_stream_at_each_gap(name: str) -> None:
    model = busy(name)
    for module in model.modules():
        for epsilon in {"eps", "variance_epsilon"} & vars(module).keys():
            setattr(module, epsilon, 1e-12)
    scaled = copy.deepcopy(model)
    ratios = [growth(model, 1, 1), growth(model, 3, 4)]
    report = compensate(ReplacementContext(model, (1, 3, 4), TEXTS))
    assert [gap["ratio"] for gap in report["gaps"]] == pytest.approx(ratios, rel=1e-5)
    assert [layer for layer, _ in report["divided"]] == [2, 5]
    assert report["divided"][1][1] == pytest.approx(ratios[0] * ratios[1], rel=1e-5)
    remove(model, (1, 3, 4))
    remove(scaled, (1, 3, 4))
    plain = logits(scaled)
    for place, ratio in ((1, ratios[0]), (2, ratios[1])):
        layers(scaled)[place].register_forward_pre_hook(_times(ratio), with_kwargs=True)
    size = plain.abs().max()
    assert (logits(model) - logits(scaled)).abs().max() < 2e-5 * size
    assert (logits(model) - plain).abs().max() > 1e-2 * size


def _times(ratio: float) -> Any:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (args[0] * ratio, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": kwargs["hidden_states"] * ratio}

    return hook


@pytest.mark.parametrize(
    ("name", "written", "offset"),
    [
        ("llama", ["self_attn.o_proj.weight", "mlp.down_proj.weight"], 0),
        ("gpt2", [f"{part}.c_proj.{kind}" for part in ("attn", "mlp") for kind in ("weight", "bias")], 0),
        ("gemma2", ["post_attention_layernorm.weight", "post_feedforward_layernorm.weight"], 1),
    ],
)
def test_compensate_divides_what_is_written_and_nothing_else(name: str, written: list[str], offset: int) -> None:
    model = busy(name, tie_word_embeddings=True)
    before = weights(model)
    ratio = growth(model, 2, 3)
    compensate(ReplacementContext(model, (2, 3), TEXTS))
    stack = next(path for path, module in model.named_modules() if module is layers(model))
    by_hand = {f"{stack}.{layer}.{path}": True for layer in (4, 5) for path in written}
    for path, weight in weights(model).items():
        expected = (before[path] + offset) / ratio - offset if path in by_hand else before[path]
        assert torch.allclose(weight, expected, atol=1e-6), path
    assert by_hand.keys() <= before.keys()


def test_compensate_divides_gain_and_bias_of_a_layer_norm_after_the_projection() -> None:
    model = busy("gemma2")
    norm = nn.LayerNorm(32)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    layers(model)[4].post_feedforward_layernorm = norm
    before, ratio = weights(layers(model)[4]), growth(model, 2, 3)
    compensate(ReplacementContext(model, (2, 3), TEXTS))
    for path, weight in weights(norm).items():
        assert torch.allclose(weight, before[f"post_feedforward_layernorm.{path}"] / ratio, atol=1e-6)
    assert torch.equal(layers(model)[4].mlp.down_proj.weight.double(), before["mlp.down_proj.weight"])


def test_compensate_takes_gaps_at_either_end() -> None:
    model = busy("llama")
    before, ratio = copy.deepcopy(model), growth(model, 0, 0)
    assert compensate(ReplacementContext(model, (4, 5), TEXTS))["divided"] == []
    assert not changed_layers(before, model)
    report = compensate(ReplacementContext(model, (0, 5), TEXTS))
    assert changed_layers(before, model) == {1, 2, 3, 4}
    assert report["gaps"][0] == {"gap": [0, 0], "ratio": pytest.approx(ratio, rel=1e-5)}


@pytest.mark.parametrize(
    ("name", "fields", "words"),
    [
        ("olmo2", {}, "layer 4 of Olmo2ForCausalLM cannot be rescaled: it reads the stream without a norm"),
        ("olmo3", {}, "layer 4 of Olmo3ForCausalLM cannot be rescaled: it reads the stream without a norm"),
        (
            "opt",
            {"do_layer_norm_before": False},
            "layer 4 of OPTForCausalLM cannot be rescaled: it still changes the stream when .* are zero",
        ),
        ("opt", {"_remove_final_layer_norm": True}, "the head of OPTForCausalLM reads the stream without a norm"),
        ("rwkv", {"rescale_every": 0}, "has no recognizable output projection: expected .*o_proj"),
    ],
)
def test_compensate_refuses_what_is_not_scaled_by_a_norm(name: str, fields: dict[str, Any], words: str) -> None:
    model = busy(name, **fields)
    before = copy.deepcopy(model)
    with pytest.raises(UserError, match=words):
        compensate(ReplacementContext(model, (2, 3), TEXTS))
    assert not changed_layers(before, model)


# streamline


def test_streamline_trains_the_layer_before_the_gap_and_no_other_towards_the_stream_after_it() -> None:
    model = busy("llama")
    before = copy.deepcopy(model)
    stream = streams(model)
    report = streamline(ReplacementContext(model, (2, 3, 4, 5), TEXTS), epochs=60, learning_rate=3e-3)
    assert report["loss_before"] == pytest.approx(float((stream[2] - stream[6]).square().mean()), rel=1e-5)
    assert changed_layers(before, model) == {1}
    remove(model, (2, 3, 4, 5))
    reached = float((streams(model)[2] - stream[6]).square().mean())
    assert report["loss_after"] == pytest.approx(reached, rel=1e-5)
    assert reached < report["loss_before"] / 2


def test_streamline_without_epochs_changes_nothing() -> None:
    model = busy("gpt2")
    before = copy.deepcopy(model)
    report = streamline(ReplacementContext(model, (2, 3), TEXTS), epochs=0)
    assert report["loss_before"] == report["loss_after"]
    assert not changed_layers(before, model)


def test_streamline_takes_batches_in_an_order_drawn_from_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerlimits.replacements.streamline._STEP_TOKENS", 40)
    base = busy("gpt2")
    first, again, other = (copy.deepcopy(base) for _ in range(3))
    for model, seed in ((first, 3), (again, 3), (other, 4)):
        streamline(ReplacementContext(model, (2, 3), TEXTS, seed=seed), epochs=2)
    assert not changed_layers(first, again)
    assert changed_layers(first, other) == {1}


def test_streamline_computes_streams_again_where_they_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = busy("llama")
    again = copy.deepcopy(model)
    report = streamline(ReplacementContext(model, (2, 3), TEXTS), epochs=2)
    monkeypatch.setattr("layerlimits.replacements.streamline._CACHE_BYTES", 0)
    assert streamline(ReplacementContext(again, (2, 3), TEXTS), epochs=2) == report
    assert not changed_layers(model, again)


def test_streamline_refuses_scattered_layers() -> None:
    with pytest.raises(UserError, match="streamline replaces one block, but the removed layers form 2 blocks: 2-3, 5"):
        streamline(ReplacementContext(tiny_model("llama"), (2, 3, 5), TEXTS))


# all of them

# As other tests assert.
_REFUSED = {("linear", "gemma2"), ("laco", "lfm2"), ("compensate", "olmo2"), ("linear", "olmo2")}
_NAMES = ["llama", "qwen3", "gpt2", "gpt_neox", "opt", "mixtral", "gemma2", "olmo2", "lfm2"]


@pytest.mark.parametrize(("replacement", "name"), [pair for pair in product(ALL, _NAMES) if pair not in _REFUSED])
def test_the_filled_model_is_a_stock_checkpoint(replacement: str, name: str, tmp_path: Path) -> None:
    model, shares = busy(name), []
    options = {"epochs": 2} if replacement == "streamline" else {}
    ALL[replacement](ReplacementContext(model, (2, 3), TEXTS, on_progress=shares.append), **options)
    assert sum(shares) == pytest.approx(1)
    remove(model, (2, 3))
    output = logits(model)
    assert output.isfinite().all()
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(logits(again), output)
    if replacement != "none":
        plain = busy(name)
        remove(plain, (2, 3))
        assert not torch.allclose(logits(plain), output, atol=1e-3)


@pytest.mark.parametrize("replacement", ALL)
def test_a_bfloat16_model_stays_one(replacement: str) -> None:
    model = busy("llama").to(torch.bfloat16)
    options = {"epochs": 2} if replacement == "streamline" else {}
    ALL[replacement](ReplacementContext(model, (2, 3), TEXTS), **options)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert logits(model).isfinite().all()


@pytest.mark.parametrize("replacement", [laco, linear, streamline])
def test_a_gap_at_layer_0_has_no_layer_before_it(replacement: Callable[[ReplacementContext], Any]) -> None:
    with pytest.raises(UserError, match="modifies the layer before each gap, but no layer precedes layer 0"):
        replacement(ReplacementContext(tiny_model("llama"), (0, 1), TEXTS))


@pytest.mark.parametrize("replacement", [linear, streamline, compensate])
def test_text_without_tokens_is_an_error(replacement: Callable[[ReplacementContext], Any]) -> None:
    with pytest.raises(UserError, match=r"calibration texts? contains? no token"):
        replacement(ReplacementContext(tiny_model("llama"), (2,), ((),)))


@pytest.mark.parametrize("replacement", ALL.values(), ids=ALL)
def test_every_docstring_names_source_and_cost(replacement: Callable[[ReplacementContext], Any]) -> None:
    described = inspect.getdoc(replacement) or ""
    assert "\nSource: " in described
    assert "\nCost: " in described


def test_gaps_are_runs_of_adjacent_layers() -> None:
    assert ReplacementContext(tiny_model("llama"), (0, 2, 3, 5), ()).gaps == ((0, 0), (2, 3), (5, 5))
