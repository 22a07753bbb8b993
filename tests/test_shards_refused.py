"""Files and layers that pruning file by file refuses, each with one clear error and nothing written."""

import json
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from shard_files import INDEX, cut_off, read_json, split

from layerlimits.errors import UserError
from layerlimits.models.shards import prune_files


def _junk(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"PK\x03\x04" * 50)


def _no_json(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes((4).to_bytes(8, "little") + b"{!!}")


def _overlap(folder: Path) -> None:
    """Two tensors on the same bytes, the file's length unchanged."""
    file = folder / "model.safetensors"
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    entries = [entry for name, entry in header.items() if name != "__metadata__"]
    first, second, *_ = sorted(entries, key=lambda entry: entry["data_offsets"])
    second["data_offsets"][0] = first["data_offsets"][0]
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


def _rewritten(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")


def _layer_lost(folder: Path) -> None:
    _rewritten(folder, lambda tensors: {k: v for k, v in tensors.items() if not k.startswith("model.layers.3.")})


def _other_names(folder: Path) -> None:
    _rewritten(folder, lambda tensors: {k.replace("model.layers", "blocks"): v for k, v in tensors.items()})


def _two_stacks(folder: Path) -> None:
    _rewritten(folder, lambda tensors: tensors | {k.removeprefix("model."): v.clone() for k, v in tensors.items()})


def _twice(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    shutil.copyfile(folder / "a.safetensors", folder / "b.safetensors")


def _stale_index(folder: Path) -> None:
    split(folder, 1)
    index = read_json(folder / INDEX)
    index["weight_map"]["model.layers.0.gone.weight"] = "a.safetensors"
    (folder / INDEX).write_text(json.dumps(index))


def _broken_index(folder: Path) -> None:
    (folder / INDEX).write_text('{"weight_map": ["a"]}')


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _shape_that_cannot_be(folder: Path) -> None:
    config = read_json(folder / "config.json")
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": "six"}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut_off, "model.safetensors is truncated"),
        (_junk, "model.safetensors is (not a safetensors file|truncated)"),
        (_no_json, "model.safetensors is not a safetensors file"),
        (_overlap, "model.safetensors is damaged: .* is at bytes 0 to"),
        (_layer_lost, r"weights missing for layer 3: config.json has num_hidden_layers = 6, .* have 5 layers"),
        (_other_names, r"LlamaForCausalLM.* expected model.layers.0 to model.layers.5 or layers.0 to layers.5"),
        (_two_stacks, r"the weight files do not have the 6 layers under one name"),
        (_twice, "is both in a.safetensors and in b.safetensors"),
        (_stale_index, "do not contain 1 of the tensors in their index: model.layers.0.gone.weight"),
        (_broken_index, "is not an index of weight files"),
        (_no_config, "has no config.json"),
        (_shape_that_cannot_be, "config.json is invalid"),
    ],
)
def test_files_that_cannot_be_pruned_are_one_clear_error(
    spoil: Callable[[Path], None], words: str, llama: Path, tmp_path: Path
) -> None:
    spoil(llama)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=words):
        prune_files(llama, (3,), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("removed", "words"),
    [((6,), "layer 6 does not exist"), ((1, 1), "more than once"), (range(6), "cannot remove 6 layers")],
)
def test_layers_that_cannot_be_removed(removed: tuple[int, ...], words: str, llama: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        prune_files(llama, removed, tmp_path)


def test_the_models_own_folder_is_never_written_to(llama: Path) -> None:
    with pytest.raises(UserError, match="is the folder of the input model"):
        prune_files(llama, (3,), llama / ".." / llama.name)


def test_a_full_disk_is_told_before_anything_is_written(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000))
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"has 0\.0 GB free, but the pruned model needs 0\.0 GB"):
        prune_files(llama, (3,), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())
