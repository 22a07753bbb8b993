"""Pruning file by file gives the files that removing layers from the loaded model and saving it would give."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import deserialize, safe_open
from safetensors.torch import load_file, save_file
from shard_files import INDEX, check_logits, cut_off, loaded_from, pruned, read_json, split
from small_models import small_llama
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MixtralConfig,
    MixtralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
)

from layerlimits.errors import UserError
from layerlimits.models.remove import without_layers
from layerlimits.models.shards import prune_files


def _stored(folder: Path) -> dict[str, tuple[str, list[int], bytes]]:
    """Type, shape and raw bytes of every tensor of a folder, as the safetensors library reads them."""
    return {
        name: (about["dtype"], about["shape"], bytes(about["data"]))
        for file in folder.glob("*.safetensors")
        for name, about in deserialize(file.read_bytes())
    }


def _check_index(folder: Path) -> None:
    """Every file of the index is there, none besides, and each holds the tensors it should."""
    index = read_json(folder / INDEX)
    files = sorted(file.name for file in folder.glob("*.safetensors"))
    assert files == [f"model-{number:05d}-of-{len(files):05d}.safetensors" for number in range(1, len(files) + 1)]
    held = {}
    for name in files:
        with safe_open(folder / name, "pt") as file:
            held |= dict.fromkeys(file.keys(), name)
    assert index["weight_map"] == held
    assert index["metadata"]["total_size"] == sum(len(data) for _, _, data in _stored(folder).values())


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shard", ["1GB", "60KB", "20KB"])
def test_the_files_are_those_that_saving_the_view_gives(
    shard: str, dtype: torch.dtype, tied: bool, tmp_path: Path
) -> None:
    small_llama(6, tie_word_embeddings=tied).to(dtype).save_pretrained(tmp_path / "base", max_shard_size=shard)
    assert (tmp_path / "base" / INDEX).exists() == (shard != "1GB")
    out = pruned(tmp_path / "base", (1, 4), tmp_path / "out")
    with without_layers(loaded_from(tmp_path / "base"), (1, 4)) as view:
        view.save_pretrained(tmp_path / "view", max_shard_size=shard)
    assert _stored(out) == _stored(tmp_path / "view")
    assert read_json(out / "config.json") == read_json(tmp_path / "view" / "config.json")
    assert read_json(out / "generation_config.json") == read_json(tmp_path / "base" / "generation_config.json")
    check_logits(tmp_path / "base", (1, 4), out)
    if shard == "1GB":
        assert not (out / INDEX).exists()
    else:
        _check_index(out)
        # Its metadata has the size in bytes and the number of parameters.
        assert read_json(out / INDEX)["metadata"] == read_json(tmp_path / "view" / INDEX)["metadata"]


def test_with_many_layers_layer_2_is_not_taken_for_layers_20_to_22(tmp_path: Path) -> None:
    small_llama(23).save_pretrained(tmp_path / "base")
    out = pruned(tmp_path / "base", (2,), tmp_path / "out")
    before, after = _stored(tmp_path / "base"), _stored(out)
    name = "model.layers.{}.mlp.down_proj.weight"
    kept_layers = [layer for layer in range(23) if layer != 2]
    assert [after.pop(name.format(new)) for new in range(22)] == [before[name.format(old)] for old in kept_layers]
    assert name.format(22) not in after
    check_logits(tmp_path / "base", (2,), out)
    check_logits(tmp_path / "base", (20, 2, 11), pruned(tmp_path / "base", (20, 2, 11), tmp_path / "three"))


def test_layers_may_be_named_in_any_order(llama: Path, tmp_path: Path) -> None:
    unordered = pruned(llama, (4, 1, 3), tmp_path / "unordered")
    ordered = pruned(llama, (1, 3, 4), tmp_path / "ordered")
    assert {file.name: file.read_bytes() for file in unordered.iterdir()} == {
        file.name: file.read_bytes() for file in ordered.iterdir()
    }
    check_logits(llama, (1, 3, 4), unordered)


def _gpt2() -> PreTrainedModel:
    torch.manual_seed(0)
    shape = {"n_layer": 5, "n_embd": 16, "n_head": 2, "n_positions": 64, "vocab_size": 50, "initializer_range": 0.3}
    return GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=1, eos_token_id=4))


def _opt() -> PreTrainedModel:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "ffn_dim": 32, "word_embed_proj_dim": 16, "vocab_size": 50, "init_std": 0.3}
    return OPTForCausalLM(OPTConfig(num_hidden_layers=5, num_attention_heads=2, max_position_embeddings=64, **shape))


@pytest.mark.parametrize(("make", "missing", "begins"), [(_gpt2, "transformer.", "h."), (_opt, "model.", "decoder.")])
def test_names_of_the_hub_that_lack_the_leading_part(
    make: Callable[[], PreTrainedModel], missing: str, begins: str, tmp_path: Path
) -> None:
    make().save_pretrained(tmp_path / "base")
    file = tmp_path / "base" / "model.safetensors"
    tensors = {name.removeprefix(missing): tensor for name, tensor in load_file(file).items()}
    # A buffer that old checkpoints hold and the model no longer has.
    old = {f"h.{layer}.attn.bias": torch.full((2,), layer) for layer in range(5)} if make is _gpt2 else {}
    save_file(tensors | old, file, metadata={"format": "pt"})
    out = pruned(tmp_path / "base", (0, 3), tmp_path / "out")
    assert {name.split(".")[0] for name in _stored(out)} >= {begins.rstrip(".")}
    assert not any(name.startswith(missing) for name in _stored(out))
    if old:
        biases = load_file(out / "model.safetensors")
        assert [int(biases[f"h.{layer}.attn.bias"][0]) for layer in range(3)] == [1, 2, 4]
    check_logits(tmp_path / "base", (0, 3), out)


def test_names_below_the_layer_that_transformers_converts_on_loading(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = MixtralConfig(**shape, vocab_size=50, num_hidden_layers=4, num_local_experts=3, initializer_range=0.3)
    MixtralForCausalLM(config).save_pretrained(tmp_path / "base")
    out = pruned(tmp_path / "base", (1,), tmp_path / "out")
    assert "model.layers.2.block_sparse_moe.experts.2.w1.weight" in _stored(out)
    check_logits(tmp_path / "base", (1,), out)


def test_a_layer_beyond_the_depth_stays_and_follows_the_kept_layers(llama: Path, tmp_path: Path) -> None:
    # DeepSeek-V3 stores its multi-token prediction as one.
    extra = {"model.layers.6.eh_proj.weight": torch.randn(3, 5), "model.layers.7.eh_proj.weight": torch.randn(2)}
    save_file(load_file(llama / "model.safetensors") | extra, llama / "model.safetensors", metadata={"format": "pt"})
    out = pruned(llama, (1, 4), tmp_path / "out")
    after = load_file(out / "model.safetensors")
    assert torch.equal(after["model.layers.4.eh_proj.weight"], extra["model.layers.6.eh_proj.weight"])
    assert torch.equal(after["model.layers.5.eh_proj.weight"], extra["model.layers.7.eh_proj.weight"])
    assert not any(name.startswith(("model.layers.6.", "model.layers.7.")) for name in after)
    check_logits(llama, (1, 4), out)


def test_a_shard_without_tensors_vanishes_and_a_last_one_becomes_the_single_file(llama: Path, tmp_path: Path) -> None:
    split(llama, 1, 2)
    both = pruned(llama, (0, 1), tmp_path / "both")
    _check_index(both)
    assert read_json(both / INDEX)["metadata"].keys() == {"made", "total_size"}
    single = pruned(llama, (2, 1), tmp_path / "single")
    assert {file.name for file in single.iterdir()} == {"config.json", "generation_config.json", "model.safetensors"}
    check_logits(llama, (0, 1), both)
    check_logits(llama, (1, 2), single)


def test_a_single_file_of_another_name_becomes_the_usual_one(llama: Path, tmp_path: Path) -> None:
    (llama / "generation_config.json").unlink()
    (llama / "model.safetensors").rename(llama / "pytorch.safetensors")
    out = pruned(llama, (3,), tmp_path / "out")
    assert {file.name for file in out.iterdir()} == {"config.json", "model.safetensors"}
    (llama / "pytorch.safetensors").rename(llama / "model.safetensors")
    check_logits(llama, (3,), out)


def test_beside_shards_the_single_file_counts_as_it_does_for_transformers(llama: Path, tmp_path: Path) -> None:
    whole = (llama / "model.safetensors").read_bytes()
    split(llama, 1, 2)
    (llama / "model.safetensors").write_bytes(whole)
    out = pruned(llama, (3,), tmp_path / "out")
    assert not (out / INDEX).exists()
    check_logits(llama, (3,), out)


def test_the_configuration_keeps_its_type_and_class_and_the_file_its_metadata(llama: Path, tmp_path: Path) -> None:
    config = read_json(llama / "config.json")
    del config["dtype"]
    (llama / "config.json").write_text(json.dumps(config | {"torch_dtype": "float16", "architectures": ["Mine"]}))
    tensors = load_file(llama / "model.safetensors")
    save_file(tensors, llama / "model.safetensors", metadata={"format": "pt", "made by": "Zoë"})
    out = pruned(llama, (3,), tmp_path / "out")
    after = read_json(out / "config.json")
    assert (after["dtype"], after["architectures"], after["num_hidden_layers"]) == ("float16", ["Mine"], 5)
    with safe_open(out / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "made by": "Zoë"}


def _refused(*_: int) -> int:
    raise OSError(errno.EXDEV, "between two file systems")


def _nothing(*_: int) -> int:
    return 0


def _a_part(reader: int, writer: int, size: int) -> int:
    return os.write(writer, os.read(reader, min(size, 1000)))


@pytest.mark.parametrize("way", [_refused, _nothing, _a_part])
def test_a_system_that_cannot_copy_in_the_kernel_or_only_in_part_gives_the_same_file(
    way: Callable[..., int], llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = pruned(llama, (3,), tmp_path / "usual")
    monkeypatch.setattr(os, "copy_file_range", way, raising=False)
    other = pruned(llama, (3,), tmp_path / "other")
    assert (other / "model.safetensors").read_bytes() == (usual / "model.safetensors").read_bytes()


def test_a_file_that_shrinks_meanwhile_is_an_error(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    monkeypatch.setattr("layerlimits.models.shards._check_space", lambda *_: cut_off(llama))
    with pytest.raises(UserError, match="ends 5 bytes early: it changed during the copy"):
        prune_files(llama, (3,), tmp_path / "out")


def test_the_data_begins_aligned_and_the_ticks_add_up_to_it(llama: Path, tmp_path: Path) -> None:
    ticks: list[int] = []
    (tmp_path / "out").mkdir()
    prune_files(llama, (3,), tmp_path / "out", ticks.append)
    file = (tmp_path / "out" / "model.safetensors").read_bytes()
    header = int.from_bytes(file[:8], "little")
    assert header % 8 == 0
    assert sum(ticks) == len(file) - 8 - header
