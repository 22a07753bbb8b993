"""Writing a pruned text model in its place inside a multimodal checkpoint."""

import json
from pathlib import Path
from typing import Any

from layerlimits.foreign import read_object
from layerlimits.models.checkpoint import SINGLE, stored_names, weight_files, whole_configuration
from layerlimits.models.fields import pruned_fields
from layerlimits.models.index import INDEX
from layerlimits.models.safetensors_copy import copy_tensors
from layerlimits.models.safetensors_header import Header, read_headers


def graft(origin: Path, text: Path, kept_layers: tuple[int, ...], out: Path) -> None:
    """Write the multimodal checkpoint in `origin` with another text model.

    Args:
        origin: the multimodal checkpoint, whose other parts are copied.
        text: the text model, a checkpoint of its own with these layers of `origin`.
        kept_layers: layers of `origin` that the text model has, ascending.
        out: an existing folder.
    """
    names = stored_names(origin)
    parts: list[tuple[Header, dict[str, str]]] = []
    for header in read_headers(weight_files(text)):
        parts.append((header, {tensor.name: names.stored(tensor.name) for tensor in header.tensors}))
    for header in read_headers(weight_files(origin)):
        others = {tensor.name: tensor.name for tensor in header.tensors if names.text(tensor.name) is None}
        if others:
            parts.append((header, others))
    files = [f"model-{number:05d}-of-{len(parts):05d}.safetensors" for number in range(1, len(parts) + 1)]
    if len(parts) == 1:
        files = [SINGLE]
    for (header, renamed), file in zip(parts, files, strict=True):
        copy_tensors(header, renamed, out / file)
    if len(parts) > 1:
        _write_index(parts, files, out)
    _write_config(origin, text, kept_layers, out)


def _write_index(parts: list[tuple[Header, dict[str, str]]], files: list[str], out: Path) -> None:
    size = sum(tensor.size for header, names in parts for tensor in header.tensors if tensor.name in names)
    weight_map = {name: file for (_, names), file in zip(parts, files, strict=True) for name in names.values()}
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (out / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def _write_config(origin: Path, text: Path, kept_layers: tuple[int, ...], out: Path) -> None:
    config: Any = whole_configuration(origin)
    inner = config.get_text_config()
    for name, value in pruned_fields(inner, kept_layers).items():
        setattr(inner, name, value)
    config.dtype = read_object(text / "config.json").get("dtype", config.dtype)
    config.save_pretrained(out)
