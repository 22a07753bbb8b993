"""What the configuration of a written checkpoint declares agrees with its layers, or a warning says so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import PROMPT, tiny_model
from small_models import small_llama
from transformers import AutoModelForCausalLM

from layerlimits.models.load import load
from layerlimits.models.remove import without_layers
from layerlimits.models.safetensors_header import read_header
from layerlimits.models.save import write_as_stored, write_checkpoint
from layerlimits.reference.tokenizer import build


@pytest.mark.parametrize("declared", [0, 1, 2])
def test_layers_for_multi_token_prediction_are_not_declared(declared: int, tmp_path: Path) -> None:
    model = tiny_model("deepseek_v3")
    model.config.num_nextn_predict_layers = declared
    model.save_pretrained(tmp_path / "base")
    write_checkpoint(model, tmp_path / "base", tmp_path / "out", {})
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["num_nextn_predict_layers"] == 0
    assert config["num_hidden_layers"] == model.config.num_hidden_layers


@pytest.mark.parametrize("kind", ["gemma3_text", "gemma2", "olmo3", "gpt_oss"])
def test_a_window_that_no_layer_uses_is_as_wide_as_the_context(
    kind: str, says: Callable[..., Any], tmp_path: Path
) -> None:
    """transformers does not build these models without a window, and some servers apply it to all layers."""
    folder = tmp_path / "model"
    model = tiny_model(kind, vocab_size=len(build()))
    model.save_pretrained(folder)
    build().save_pretrained(folder)
    kinds = model.config.layer_types
    sliding = [layer for layer, kind in enumerate(kinds) if kind == "sliding_attention"]
    assert 0 < len(sliding) < len(kinds)
    says("prune", folder, "--remove", ",".join(map(str, sliding)), "--out", tmp_path / "all")
    says("prune", folder, "--remove", sliding[-1], "--out", tmp_path / "some")
    assert _declared(tmp_path / "all", "sliding_window") == model.config.max_position_embeddings
    assert _declared(tmp_path / "some", "sliding_window") == model.config.sliding_window
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "all").eval()
    with torch.no_grad(), without_layers(model, sliding) as view:
        assert torch.equal(stock(PROMPT).logits, view(PROMPT).logits)


def _declared(folder: Path, field: str) -> Any:
    return json.loads((folder / "config.json").read_text())[field]


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("shard", ["1GB", "60KB"])
@pytest.mark.parametrize("replacement", ["laco", "linear"])
def test_a_replacement_keeps_the_type_and_the_files_of_the_checkpoint(
    replacement: str, shard: str, tied: bool, says: Callable[..., Any], tmp_path: Path
) -> None:
    """It computes in float32 on a CPU without fast bfloat16."""
    base, out = tmp_path / "base", tmp_path / "out"
    small_llama(6, tie_word_embeddings=tied).to(torch.bfloat16).save_pretrained(base, max_shard_size=shard)
    build().save_pretrained(base)
    asked = ("--remove", "3,4", "--replacement", replacement, "--dtype", "float32", "--out", out)
    says("prune", base, *asked)
    before, after = _headers(base), _headers(out)
    assert {dtype for file in after.values() for dtype, _ in file.values()} == {"BF16"}
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    assert (len(before) > 1) == (len(after) > 1) == (shard == "60KB")
    largest = max(sum(size for _, size in file.values()) for file in before.values())
    assert all(sum(size for _, size in file.values()) <= largest + 1000 for file in after.values())
    names = {name for file in after.values() for name in file}
    assert ("lm_head.weight" in names) == (not tied)
    reloaded = load(str(out), dtype="auto", device="cpu")
    assert reloaded.depth == 4
    assert len(names) == len({name for file in before.values() for name in file}) - 18


def test_single_parameters_keep_their_own_type(tmp_path: Path) -> None:
    """Some checkpoints store norms or gates in float32 beside matrices in bfloat16."""
    model = small_llama(4)
    types = {"norm": torch.float32}
    state = {
        name: tensor.to(next((kind for part, kind in types.items() if part in name), torch.bfloat16)).contiguous()
        for name, tensor in model.state_dict().items()
    }
    base = tmp_path / "base"
    model.save_pretrained(base, state_dict=state)
    written = _headers(write_as_stored(model, base, tmp_path / "out", {}))
    kinds = {name: dtype for file in written.values() for name, (dtype, _) in file.items()}
    assert {dtype for name, dtype in kinds.items() if "norm" in name} == {"F32"}
    assert {dtype for name, dtype in kinds.items() if "norm" not in name} == {"BF16"}


def _headers(folder: Path) -> dict[str, dict[str, tuple[str, int]]]:
    """By file and tensor, the stored type and size in bytes."""
    return {
        file.name: {tensor.name: (tensor.dtype, tensor.size) for tensor in read_header(file).tensors}
        for file in sorted(folder.glob("*.safetensors"))
    }
