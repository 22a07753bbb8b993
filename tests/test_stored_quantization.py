"""Checkpoints in fp8 and mxfp4: deleting layers keeps their bytes, and whatever computes with weights widens them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import tiny_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_multimodal import TEXT, logits, stock_logits
from torch import Tensor

from layerlimits import api
from layerlimits.models.load import load
from layerlimits.models.remove import without_layers
from layerlimits.models.stored_quantization import renumbered
from layerlimits.reference.tokenizer import build

REMOVED = (1, 3)
# The values of the 4-bit type, by code (OCP Microscaling Formats, E2M1).
_E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def _save(folder: Path, tensors: dict[str, Tensor], settings: dict[str, Any]) -> Path:
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": settings, "dtype": "bfloat16"}))
    build().save_pretrained(folder)
    return folder


def fp8_model(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """DeepSeek-V3 in 8-bit floating point with a scale per block of 128 x 128, and the weights that it stands for."""
    model = tiny_model("deepseek_v3", vocab_size=len(build()), num_nextn_predict_layers=0).to(torch.bfloat16)
    model.save_pretrained(folder)
    stored, meant = {}, load_file(folder / "model.safetensors")
    for name, weight in list(meant.items()):
        stored[name] = weight
        if "_proj" in name:
            scale = weight.float().abs().max() / 448
            stored[name] = (weight.float() / scale).to(torch.float8_e4m3fn)
            stored[f"{name}_scale_inv"] = scale[None, None]
            meant[name] = (stored[name].float() * scale).to(torch.bfloat16)
    settings = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}
    return _save(folder, stored, settings), meant


def mxfp4_model(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """GPT-OSS with experts in 4 bits, 32 weights per scale, and the weights that they stand for."""
    model = tiny_model("gpt_oss", vocab_size=len(build()), intermediate_size=32).to(torch.bfloat16)
    model.save_pretrained(folder)
    stored, meant = {}, load_file(folder / "model.safetensors")
    torch.manual_seed(1)
    for name, weight in list(meant.items()):
        if not name.endswith(("gate_up_proj", "down_proj")):
            stored[name] = weight
            continue
        experts, rows, columns = weight.shape
        blocks = torch.randint(0, 256, (experts, columns, rows // 32, 16), dtype=torch.uint8)
        scales = torch.randint(122, 126, (experts, columns, rows // 32), dtype=torch.uint8)
        stored[f"{name}_blocks"], stored[f"{name}_scales"] = blocks, scales
        # The lower half of a byte comes first.
        codes = torch.stack([blocks & 15, blocks >> 4], dim=-1).flatten(-2).long()
        values = _E2M1[codes] * 2.0 ** (scales.float() - 127)[..., None]
        meant[name] = values.flatten(-2).transpose(1, 2).contiguous().to(torch.bfloat16)
    skipped = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    return _save(folder, stored, {"quant_method": "mxfp4", "modules_to_not_convert": skipped}), meant


MODELS = {"fp8": (fp8_model, "deepseek_v3", {}), "mxfp4": (mxfp4_model, "gpt_oss", {"intermediate_size": 32})}


def _wide(kind: str, meant: dict[str, Tensor], folder: Path) -> Path:
    """A checkpoint of the weights that a quantized one stands for."""
    _, name, fields = MODELS[kind]
    tiny_model(name, vocab_size=len(build()), **fields).to(torch.bfloat16).save_pretrained(folder)
    save_file(meant, folder / "model.safetensors", {"format": "pt"})
    build().save_pretrained(folder)
    return folder


def _bytes(folder: Path, name: str) -> bytes:
    with safe_open(folder / "model.safetensors", "pt") as file:
        return bytes(file.get_tensor(name).contiguous().view(torch.uint8).flatten().tolist())


@pytest.mark.parametrize("kind", MODELS)
def test_deletion_keeps_bytes_and_all_else_widens(kind: str, says: Callable[..., Any], tmp_path: Path) -> None:
    base, meant = MODELS[kind][0](tmp_path / "base")
    wide = _wide(kind, meant, tmp_path / "wide")
    loaded, expected = (load(str(folder), dtype="float32", device="cpu") for folder in (base, wide))
    assert torch.equal(logits(loaded.model), logits(expected.model))
    assert f"stored in {kind}" in loaded.number_type.reason

    out = tmp_path / "out"
    result = says("prune", base, "--remove", "1,3", "--out", out)
    assert any(f"stored in {kind}" in warning for warning in result["warnings"])
    with safe_open(out / "model.safetensors", "pt") as file:
        names = list(file.keys())
    kept = (0, 2, 4, 5)
    for name in names:
        parts = name.split(".")
        if parts[:2] == ["model", "layers"]:
            parts[2] = str(kept[int(parts[2])])
        assert _bytes(out, name) == _bytes(base, ".".join(parts)), name
    config = json.loads((out / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == kind
    assert "dequantize" not in config["quantization_config"]
    assert config.get("num_nextn_predict_layers", 0) == 0

    ranked = says("rank", base, "--method", "taylor", "--items", 4, "--device", "cpu", "--dtype", "float32")
    known = says("rank", wide, "--method", "taylor", "--items", 4, "--device", "cpu", "--dtype", "float32")
    assert ranked["scores"] == known["scores"]
    assert "widened to bfloat16" in ranked["warnings"][0]

    filled = tmp_path / "filled"
    options = api.PruneOptions(remove=(2,), replacement="compensate")
    api.prune(api.ModelOptions(str(base), dtype="float32", device="cpu"), filled, options)
    assert "quantization_config" not in json.loads((filled / "config.json").read_text())
    answers = stock_logits([(TEXT, out), (TEXT, filled)])
    stock_dtype = load(str(wide), dtype="bfloat16", device="cpu")
    with without_layers(stock_dtype.model, REMOVED) as view:
        assert torch.allclose(answers[out], logits(view).flatten().float(), rtol=0, atol=1e-5)
    again = load(str(filled), dtype="bfloat16", device="cpu")
    assert torch.allclose(answers[filled], logits(again.model).flatten().float(), rtol=0, atol=1e-5)


def test_lists_of_modules_are_renumbered() -> None:
    listed = [
        "lm_head",
        "model.layers.0.mlp.gate",
        "model.layers.3.mlp.gate",
        "layers.2",
        "model.layers.*.attn",
        "visual.layers.1",
    ]
    settings = {"quant_method": "fp8", "modules_to_not_convert": listed}
    assert renumbered(settings, "model.layers", (0, 2, 3))["modules_to_not_convert"] == [
        "lm_head",
        "model.layers.0.mlp.gate",
        "model.layers.2.mlp.gate",
        "layers.1",
        "model.layers.*.attn",
        "visual.layers.1",
    ]
    assert settings["modules_to_not_convert"] == listed
    assert renumbered(settings, "model.layers", (0, 1))["modules_to_not_convert"][1:3] == [
        "model.layers.0.mlp.gate",
        "model.layers.*.attn",
    ]
