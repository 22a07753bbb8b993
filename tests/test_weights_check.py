"""Checkpoints whose weight files are not those of their configuration: refused before any weight loads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import tiny_model
from safetensors.torch import load_file, save_file
from shard_files import read_json, split

from layerlimits.errors import UserError
from layerlimits.models.load import load
from layerlimits.models.locate import check, check_complete

Refused = Callable[..., str]
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the model of 6 layers, to spoil."""
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def _configured(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(read_json(path) | fields))


def _rewritten(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def _without(part: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if part not in name}


def _renamed(before: str, after: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name.replace(before, after): tensor for name, tensor in tensors.items()}


def _added(**tensors: torch.Tensor) -> Callable[[Tensors], Tensors]:
    return lambda stored: stored | {name.replace("__", "."): tensor for name, tensor in tensors.items()}


def _six_of_seven(folder: Path) -> None:
    _configured(folder, num_hidden_layers=7)


def _six_of_five(folder: Path) -> None:
    _configured(folder, num_hidden_layers=5)


def _a_layer_inside(folder: Path) -> None:
    _rewritten(folder, _without("layers.2."))


def _a_shard_emptied(folder: Path) -> None:
    split(folder, 4, 5)
    weight_map = read_json(folder / "model.safetensors.index.json")["weight_map"]
    weight_map = {name: file for name, file in weight_map.items() if file == "b.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


SPOILED = [
    (_six_of_seven, r"weights missing for layer 6: config.json has num_hidden_layers = 7, .* have 6 layers"),
    (_six_of_five, r"unexpected weights for layer 5 \(model.layers.5.input_layernorm.weight and 8 more\)"),
    (_a_layer_inside, "weights missing for layer 2: "),
    (_a_shard_emptied, "weights missing for layer 4: "),
    (
        lambda folder: _rewritten(folder, _without("4.mlp.down_proj")),
        r"weights missing for layer 4 \(model.layers.4.mlp.down_proj.weight\)",
    ),
    (
        lambda folder: _rewritten(folder, _without("self_attn.q_proj")),
        r"weights missing for layers 0, 1, 2 and 3 more \(model.layers.0.self_attn.q_proj.weight and 5 more\)",
    ),
    (
        lambda folder: _rewritten(folder, _renamed("5.mlp.up_proj", "5.mlp.up")),
        r"layer 5 \(model.layers.5.mlp.up_proj.weight\); unexpected weights for layer 5 \(model.layers.5.mlp.up.",
    ),
    (lambda folder: _rewritten(folder, _without("lm_head")), r"weights missing \(lm_head.weight\)"),
    (
        lambda folder: _rewritten(folder, _added(model__layers__3__self_attn__q_proj__bias=torch.ones(32))),
        r"unexpected weights for layer 3 \(model.layers.3.self_attn.q_proj.bias\)",
    ),
    (
        lambda folder: _rewritten(folder, _added(model__layers__3__mlp__up_proj__weight_scale=torch.tensor(0.5))),
        "unexpected weights for layer 3",
    ),
    (
        lambda folder: _configured(folder, intermediate_size=48),
        r"0.mlp.down_proj.weight has shape \(32, 64\) in the file, but \(32, 48\) in config.json, and 17 more",
    ),
]


@pytest.mark.parametrize(("spoil", "words"), SPOILED)
def test_weights_that_do_not_fit_are_refused_by_name_before_they_load(
    spoil: Callable[[Path], None], words: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(copy)
    monkeypatch.setattr(torch.nn.Module, "to", lambda *_: pytest.fail("the weights were loaded"))
    with pytest.raises(UserError, match=words):
        load(str(copy), device="cpu")


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "--tasks", "facts_choice", "--limit", "5"],
        ["sweep", "--tasks", "facts_choice", "--limit", "5"],
        ["rank", "--method", "reverse"],
        ["prune", "--remove", "1", "--out", "out"],
        ["study", "--tasks", "facts_choice", "--out", "out"],
    ],
)
def test_every_command_refuses_a_renamed_tensor(
    command: list[str], copy: Path, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    _rewritten(copy, _renamed("4.mlp.down_proj", "4.mlp.out_proj"))
    monkeypatch.chdir(tmp_path)
    said = refused(command[0], copy, *command[1:])
    assert "weights missing for layer 4 (model.layers.4.mlp.down_proj.weight)" in said
    assert "unexpected weights for layer 4 (model.layers.4.mlp.out_proj.weight)" in said
    assert not (tmp_path / "out").exists()


def test_the_parent_and_the_pruned_model_of_recover_are_checked(
    tiny: Path, copy: Path, tmp_path: Path, refused: Refused, says: Callable[..., Any]
) -> None:
    says("prune", tiny, "--remove", "1", "--out", tmp_path / "pruned")
    _rewritten(copy, _without("5.mlp.down_proj"))
    common = ["--tasks", "facts", "--out", tmp_path / "out"]
    assert "missing for layer 5" in refused("recover", tmp_path / "pruned", "--parent", copy, *common)
    _rewritten(tmp_path / "pruned", _without("3.mlp.up_proj"))
    assert "missing for layer 3" in refused("recover", tmp_path / "pruned", "--parent", tiny, *common)


def test_a_lost_expert_of_a_mixture_is_missed(tmp_path: Path) -> None:
    for number, part in enumerate(("experts.3.", "experts.1.w1")):
        folder = tmp_path / str(number)
        tiny_model("mixtral").save_pretrained(folder)
        _rewritten(folder, _without(f"layers.2.block_sparse_moe.{part}"))
        with pytest.raises(UserError, match=r"mlp.experts|cannot load"):
            check_complete(folder)


def test_what_is_rightly_absent_or_left_over_is_no_fault(copy: Path, tmp_path: Path) -> None:
    # Tied weights are stored once.
    tiny_model("granite").save_pretrained(tmp_path / "tied")
    assert "lm_head.weight" not in load_file(tmp_path / "tied" / "model.safetensors")
    check_complete(tmp_path / "tied")
    # Keys that a model class ignores, and tables and masks that older versions of transformers stored.
    tiny_model("gpt2").save_pretrained(tmp_path / "masks")
    _rewritten(tmp_path / "masks", _added(transformer__h__0__attn__bias=torch.ones(1, 1, 128, 128)))
    check_complete(tmp_path / "masks")
    tables = {"self_attn__rotary_emb__inv_freq": torch.ones(4), "attention__mask": torch.ones(1, 1, 16, 16)}
    _rewritten(copy, _added(**{f"model__layers__0__{name}": table for name, table in tables.items()}))
    check_complete(copy)
    # Multi-token prediction, stored as the layer after the last.
    _configured(copy, num_nextn_predict_layers=1)
    _rewritten(copy, _added(model__layers__6__eh_proj__weight=torch.ones(2)))
    assert load(str(copy), device="cpu").depth == 6
    _rewritten(copy, _added(model__layers__7__eh_proj__weight=torch.ones(2)))
    with pytest.raises(UserError, match="unexpected weights for layer 7"):
        check_complete(copy)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0, not a whole number of at least 1"),
        ({"num_hidden_layers": -1}, "num_hidden_layers is -1"),
        ({"num_hidden_layers": "4"}, "num_hidden_layers is '4'"),
        ({"num_hidden_layers": 4.0}, "num_hidden_layers is 4.0"),
        ({"num_hidden_layers": True}, "num_hidden_layers is True"),
        ({"num_hidden_layers": None}, "num_hidden_layers is None"),
        ({"num_hidden_layers": 40}, "weights missing for layer 6: config.json has num_hidden_layers = 40"),
        ({"num_hidden_layers": 1000000}, "num_hidden_layers is 1000000, but the weight files have only 57 tensors"),
        ({"num_hidden_layers": 10**30}, "num_hidden_layers is 1000000"),
        ({"num_hidden_layers": 10**4000}, "num_hidden_layers is 1000000"),
        ({"model_type": ["llama"]}, r"model_type is \['llama'\], not a string"),
        ({"model_type": None}, "model_type is None"),
        ({"quantization_config": "gptq"}, r"already quantized \('gptq'\)"),
        ({"quantization_config": [4]}, "already quantized"),
        ({"layer_types": ["full_attention"] * 7}, "config.json is invalid: .*layer_types"),
        ({"dtype": "float99"}, "config.json is invalid"),
    ],
)
def test_a_configuration_that_cannot_be_is_one_error_that_names_the_field(
    fields: dict[str, object], words: str, copy: Path
) -> None:
    _configured(copy, **fields)
    with pytest.raises(UserError, match=words):
        check(copy)


def test_a_depth_under_another_name_is_checked_too(tmp_path: Path) -> None:
    tiny_model("gpt2").save_pretrained(tmp_path)
    for count, words in ((10**30, "n_layer is 1000"), (9, "missing for layer 6"), (0, "0, not a whole number")):
        _configured(tmp_path, n_layer=count)
        with pytest.raises(UserError, match=words):
            check(tmp_path)


@pytest.mark.parametrize("name", ["hf_quant_config.json", "quantize_config.json", "quant_config.json"])
def test_a_checkpoint_quantized_by_another_file_is_refused(name: str, copy: Path) -> None:
    (copy / name).write_text("{}")
    with pytest.raises(UserError, match=f"already quantized .it has a {name}"):
        check(copy)


def test_weights_stored_as_whole_numbers_are_refused(copy: Path) -> None:
    packed = {"model__layers__1__mlp__up_proj__weight": torch.ones(64, 32, dtype=torch.int8)}
    _rewritten(copy, _added(**packed))
    with pytest.raises(UserError, match=r"already quantized .model.layers.1.mlp.up_proj.weight is I8"):
        check(copy)


@pytest.mark.parametrize("text", ["[]", "5", "{", "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\ud800"])
def test_json_of_a_model_folder_that_is_none_names_its_file(text: str, copy: Path) -> None:
    for name in ("generation_config.json", "config.json"):
        (copy / name).write_bytes(text.encode(errors="surrogatepass"))
        words = "is not|is nested deeper than 100 levels|contains an integer of 5,000 digits"
        with pytest.raises(UserError, match=rf"{name} ({words})"):
            check(copy)
