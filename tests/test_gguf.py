"""Models in .gguf files, written by the gguf package: widened once, kept, and told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from small_models import small_llama
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from layerlimits.errors import UserError
from layerlimits.models.load import load
from layerlimits.models.locate import locate

PROMPT = torch.arange(3, 40)[None]
Q8, F32 = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.F32
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
# The three special tokens, then one for each byte, as in Llama 2.
_VOCABULARY = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]


def write_gguf(
    file: Path, model: LlamaForCausalLM, kind: gguf.GGMLQuantizationType, architecture: str = "llama"
) -> dict[str, torch.Tensor]:
    """Write a model to a GGUF file, and return the weights that the file stands for."""
    config, meant = model.config, {}
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(_VOCABULARY)
    writer.add_token_scores([0.0] * len(_VOCABULARY))
    writer.add_token_types([2, 3, 3] + [6] * 256)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    for name, weight in model.state_dict().items():
        values = weight.numpy()
        if values.ndim == 1 or kind == F32:
            meant[name] = weight
        else:
            meant[name] = torch.from_numpy(gguf.dequantize(gguf.quantize(values, kind), kind))
        for part, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            if part in name:  # GGUF stores the two halves of rotated heads in turn.
                rows, columns = values.shape
                values = values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
        stem = name.removesuffix(".weight")
        if stem.startswith("model.layers."):
            _, _, number, rest = stem.split(".", 3)
            stem = f"blk.{number}.{_NAMES[rest]}"
        else:
            stem = _NAMES[stem]
        if values.ndim == 1 or kind == F32:
            writer.add_tensor(f"{stem}.weight", values)
        else:
            writer.add_tensor(f"{stem}.weight", gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return meant


def llama() -> LlamaForCausalLM:
    return small_llama(4, hidden_size=64, vocab_size=len(_VOCABULARY), pad_token_id=0, bos_token_id=1, eos_token_id=2)


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(PROMPT).logits


@pytest.mark.parametrize("kind", [Q8, F32])
def test_a_gguf_file_is_the_model_that_its_weights_stand_for(kind: gguf.GGMLQuantizationType, tmp_path: Path) -> None:
    file, model = tmp_path / "tiny.gguf", llama()
    meant = write_gguf(file, model, kind)
    written = torch.bfloat16 if kind == Q8 else torch.float32
    model.load_state_dict({name: weight.to(written).float() for name, weight in meant.items()})
    loaded = load(str(file), dtype="float32", device="cpu")
    assert torch.equal(logits(loaded.model), logits(model))
    assert loaded.ref.path == str(file)
    stock = AutoModelForCausalLM.from_pretrained(loaded.folder)
    assert stock.dtype == written
    note = next(note for note in loaded.notes if "tiny.gguf" in note)
    assert f"% {kind.name}" in note
    assert f"widened to {str(written).removeprefix('torch.')}" in note
    assert note in loaded.number_type.reason


def test_a_file_is_widened_once_and_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    write_gguf(file, llama(), Q8)
    folder = locate(str(file))
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert locate(str(file)) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    write_gguf(file, llama(), F32)
    assert locate(str(file)) != folder
    assert not [entry for entry in folder.parent.iterdir() if entry.name.startswith(".")]


def test_what_was_quantized_is_told(says: Callable[..., Any], tmp_path: Path) -> None:
    file, out = tmp_path / "tiny.gguf", tmp_path / "out"
    write_gguf(file, llama(), Q8)
    assert any("quantized weights were read from tiny.gguf" in said for said in _prune(says, file, out)["warnings"])
    recipe = json.loads((out / "layerlimits.json").read_text())
    assert recipe["base"] == str(file)
    assert "quantized weights were read from tiny.gguf" in recipe["source"][0]
    stock, base = AutoModelForCausalLM.from_pretrained(out), AutoModelForCausalLM.from_pretrained(locate(str(file)))
    del base.model.layers[2]
    for number, layer in enumerate(base.model.layers):
        layer.self_attn.layer_idx = number
    assert torch.equal(logits(stock), logits(base))
    # A pruned checkpoint of a pruned checkpoint still says so.
    assert any("tiny.gguf" in said for said in _prune(says, out, tmp_path / "again")["warnings"])
    plan = says("study", file, "--plan", "--tasks", "facts", "--limit", 4, "--no-chat", "--out", tmp_path / "run")
    assert "quantized weights were read from tiny.gguf" in plan["dtype_reason"]


def _prune(says: Callable[..., Any], base: Path, out: Path) -> Any:
    return says("prune", base, "--remove", 2, "--out", out)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: len(data) // 2], "is truncated or damaged"),
        (lambda data: data[:300], "is truncated or damaged"),
        (lambda data: data[:-64], "is truncated or damaged"),
        (lambda data: b"hello", "is not a GGUF file"),
        (lambda data: b"", "is not a GGUF file"),
    ],
)
def test_a_damaged_file_is_one_error(
    damage: Callable[[bytes], bytes], message: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    file = tmp_path / "tiny.gguf"
    write_gguf(file, llama(), Q8)
    file.write_bytes(damage(file.read_bytes()))
    assert message in refused("prune", file, "--remove", 2, "--out", tmp_path / "out")


def test_files_that_cannot_be_used_are_one_error(
    monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str], tmp_path: Path
) -> None:
    file = tmp_path / "other.gguf"
    write_gguf(file, llama(), Q8, "rwkv7")
    assert "architecture rwkv7 is not supported" in refused("evaluate", file)
    assert "no such file" in refused("evaluate", tmp_path / "nothing.gguf")
    assert "give the file other.gguf itself" in refused("evaluate", tmp_path)
    part = tmp_path / "m-00001-of-00003.gguf"
    part.write_bytes(file.read_bytes())
    assert "is one of 3 parts" in refused("evaluate", part)
    monkeypatch.setattr("layerlimits.models.gguf_file.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package gguf") as error:
        locate(str(file))
    assert "pip install layerlimits[gguf]" in error.value.fix
