"""The linear replacement against least squares on stacked activations, in float64 and text by text."""

import copy
from typing import Any

import pytest
import torch
from replacement_fixtures import TEXTS, busy, layers, logits, streams
from torch import Tensor, nn
from transformers import PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.remove import remove
from layerlimits.models.writers import writers
from layerlimits.replacements import ReplacementContext
from layerlimits.replacements.linear import linear


def mlp_writes(model: PreTrainedModel, layer: int, multiplier: float = 1.0) -> Tensor:
    """M (tokens, D): the outputs of the module named mlp, one text at a time."""
    seen: list[Tensor] = []
    module = getattr(layers(model)[layer], "mlp", None) or layers(model)[layer].feed_forward
    handle = module.register_forward_hook(
        lambda _, __, out: seen.append((out if isinstance(out, Tensor) else out[0]).reshape(-1, 32).double())
    )
    with torch.no_grad():
        for text in TEXTS:
            model(input_ids=torch.tensor([text]))
    handle.remove()
    return torch.cat(seen) * multiplier


def least_squares(written: Tensor, missing: Tensor, alpha: float) -> Tensor:
    ridge = alpha**0.5 * torch.eye(32, dtype=torch.float64)
    return torch.linalg.lstsq(torch.cat([written, ridge]), torch.cat([missing, torch.zeros_like(ridge)])).solution


@pytest.mark.parametrize("alpha", [0.0, 0.1, 50.0])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_linear_is_the_same_change_done_by_hand_in_float64(name: str, alpha: float) -> None:
    model = busy(name)
    before = copy.deepcopy(model)
    stream = streams(model)
    report = linear(ReplacementContext(model, (1, 4, 5), TEXTS), alpha=alpha)
    for (first, last), gap in zip(((1, 1), (4, 5)), report["gaps"], strict=True):
        written = mlp_writes(before, first - 1)
        missing = stream[last + 1] - (stream[first] - written)
        best = least_squares(written, missing, alpha)
        old, new = layers(before)[first - 1].mlp, layers(model)[first - 1].mlp
        if name == "llama":
            by_hand, folded = best.T @ old.down_proj.weight.double(), new.down_proj.weight
        else:
            by_hand, folded = old.c_proj.weight.double() @ best, new.c_proj.weight
            assert torch.allclose(new.c_proj.bias.double(), old.c_proj.bias.double() @ best, atol=1e-4)
        assert torch.allclose(folded.double(), by_hand, atol=1e-4)
        squared = missing.square().sum()
        assert gap["error_before"] == pytest.approx(float((written - missing).square().sum() / squared), rel=1e-4)
        assert gap["error_after"] == pytest.approx(float((written @ best - missing).square().sum() / squared), rel=1e-4)
        assert gap["error_after"] < gap["error_before"]


@pytest.mark.parametrize(
    ("name", "fields", "multiplier"),
    [
        ("granite", {}, 0.7),
        ("gpt_neox", {}, 1),
        ("cohere2", {}, 1),
        ("falcon", {}, 1),
        ("mixtral", {}, 1),
        ("deepseek_v3", {"first_k_dense_replace": 0}, 1),
        # Square experts: the tensor does not show which axis is the stream's.
        ("gpt_oss", {"intermediate_size": 32}, 1),
        ("mixtral", {"intermediate_size": 32}, 1),
        ("lfm2", {}, 1),
    ],
)
def test_the_folded_layer_writes_the_mapped_mlp(name: str, fields: dict[str, Any], multiplier: float) -> None:
    model = busy(name, **fields)
    stream, written = streams(model), mlp_writes(model, 1, multiplier)
    middle = stream[2] - written
    best = least_squares(written, stream[4] - middle, 0.1)
    linear(ReplacementContext(model, (2, 3), TEXTS))
    remove(model, (2, 3))
    expected = middle + written @ best
    assert (streams(model)[2] - expected).abs().max() < 1e-4 * expected.abs().max()
    assert (stream[2] - expected).abs().max() > 0.1 * expected.abs().max()


def test_a_gap_that_does_nothing_maps_by_the_identity() -> None:
    model = busy("llama")
    for layer in layers(model)[2:4]:
        nn.init.zeros_(layer.self_attn.o_proj.weight)
        nn.init.zeros_(layer.mlp.down_proj.weight)
    before = copy.deepcopy(layers(model)[1].mlp.down_proj.weight)
    (gap,) = linear(ReplacementContext(model, (2, 3), TEXTS), alpha=0.0)["gaps"]
    assert torch.allclose(layers(model)[1].mlp.down_proj.weight, before, atol=1e-5)
    assert gap["error_before"] < 1e-10
    assert gap["error_after"] < 1e-10


class _Mix(nn.Module):
    """A gap that is linear in the stream: h + h A."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden_states + hidden_states @ self.matrix


def test_a_known_map_is_recovered_and_the_pruned_model_is_the_whole_one() -> None:
    """The stream lives in dimensions 0 to 15, only the MLP before the gap writes the others, and the gap mixes those:
    Y = M (I + A). M takes 16 directions of 32, so least squares at alpha = 0 is singular too.
    """
    model = busy("llama")
    low, high = torch.arange(32) < 16, torch.arange(32) >= 16
    with torch.no_grad():
        model.get_input_embeddings().weight[:, high] = 0
        for layer in layers(model)[:2]:
            layer.self_attn.o_proj.weight[high] = 0
        layers(model)[0].mlp.down_proj.weight[high] = 0
        layers(model)[1].mlp.down_proj.weight[low] = 0
    draw = torch.Generator().manual_seed(3)
    matrix = torch.randn(32, 32, generator=draw)
    matrix[low] = 0
    layers(model)[2] = _Mix(matrix)
    before = layers(model)[1].mlp.down_proj.weight.detach().double().clone()
    whole = logits(model)
    (gap,) = linear(ReplacementContext(model, (2,), TEXTS), alpha=0.0)["gaps"]
    by_hand = (torch.eye(32) + matrix).double().T @ before
    assert torch.allclose(layers(model)[1].mlp.down_proj.weight.double(), by_hand, atol=1e-4)
    assert gap["error_before"] > 0.5
    assert gap["error_after"] < 1e-9
    remove(model, (2,))
    assert torch.allclose(logits(model), whole, atol=1e-3)


@pytest.mark.parametrize("name", ["olmo2", "olmo3", "gemma2", "gemma3_text", "afmoe"])
def test_linear_refuses_a_norm_after_the_mlp(name: str) -> None:
    model = busy(name)
    with pytest.raises(UserError, match=r"linear cannot fold a map into layer 1 of \w+: a norm follows the MLP"):
        linear(ReplacementContext(model, (2, 3), TEXTS))


def test_linear_refuses_a_layer_without_a_known_mlp_and_an_alpha_below_0() -> None:
    with pytest.raises(UserError, match="layer 1 of RwkvForCausalLM has no recognizable MLP output projection"):
        linear(ReplacementContext(busy("rwkv", rescale_every=0), (2, 3), TEXTS))
    with pytest.raises(UserError, match="alpha = -1"):
        linear(ReplacementContext(busy("llama"), (2, 3), TEXTS), alpha=-1)


def test_a_map_folded_along_the_wrong_axis_is_an_error_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = busy("gpt2", n_inner=32)
    before = copy.deepcopy(model)
    # The projection is square and not recognized as a Conv1D, so it is treated as a Linear.
    monkeypatch.setattr("layerlimits.models.writers.Conv1D", nn.Identity)
    with pytest.raises(UserError, match=r"cannot fold the map into mlp\.c_proj\.weight"):
        linear(ReplacementContext(model, (2, 3), TEXTS))
    assert torch.equal(logits(model), logits(before))


def test_writers_are_the_output_projections_with_their_axes() -> None:
    projections = {
        writer.weight: (writer.bias, writer.axes, writer.mlp) for writer in writers(layers(busy("gpt2"))[0], 32)
    }
    assert projections == {
        "attn.c_proj.weight": ("attn.c_proj.bias", (1,), False),
        "mlp.c_proj.weight": ("mlp.c_proj.bias", (1,), True),
    }
    projections = {
        writer.weight: (writer.bias, writer.axes, writer.mlp) for writer in writers(layers(busy("gpt_oss"))[0], 32)
    }
    assert projections == {
        "self_attn.o_proj.weight": ("self_attn.o_proj.bias", (0,), False),
        "mlp.experts.down_proj": ("mlp.experts.down_proj_bias", (2,), True),
    }
