"""A small checkpoint to prune file by file, and what reads and splits its files."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from layerlimits.models.remove import without_layers
from layerlimits.models.shards import prune_files

PROMPT = torch.arange(3, 40)[None]
INDEX = "model.safetensors.index.json"


def read_json(file: Path) -> Any:
    return json.loads(file.read_text())


def split(folder: Path, *layers: int) -> None:
    """Put the tensors of these layers into a shard of their own, with an index of few fields, as old ones are."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    begins = tuple(f"model.layers.{layer}." for layer in layers)
    weight_map = {name: "a.safetensors" if name.startswith(begins) else "b.safetensors" for name in tensors}
    for file in ("a.safetensors", "b.safetensors"):
        save_file({name: tensor for name, tensor in tensors.items() if weight_map[name] == file}, folder / file)
    (folder / INDEX).write_text(json.dumps({"metadata": {"made": "by hand"}, "weight_map": weight_map}))


def cut_off(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-5])


def pruned(folder: Path, removed: tuple[int, ...], out: Path) -> Path:
    out.mkdir()
    prune_files(folder, removed, out)
    return out


def loaded_from(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()


@torch.no_grad()
def logits_of(model: PreTrainedModel) -> torch.Tensor:
    return model(PROMPT).logits


@torch.no_grad()
def check_logits(folder: Path, removed: tuple[int, ...], out: Path) -> None:
    """The pruned folder is the view of the whole model, to the bit, and not the whole model."""
    whole = loaded_from(folder)
    with without_layers(whole, removed) as view:
        expected = logits_of(view)
    assert torch.equal(logits_of(loaded_from(out)), expected)
    assert not torch.equal(logits_of(whole), expected)
