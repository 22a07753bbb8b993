"""A small checkpoint to prune file by file, and what reads and splits its files."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

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
