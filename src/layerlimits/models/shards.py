"""Pruning a checkpoint file by file, without loading weights: it works at disk speed for models larger than memory."""

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.checkpoint import (
    SINGLE,
    configuration,
    stored_names,
    text_headers,
    weight_files,
    whole_configuration,
)
from layerlimits.models.fields import pruned_fields
from layerlimits.models.index import INDEX, read_index
from layerlimits.models.locate import check
from layerlimits.models.remove import check_layers, remove
from layerlimits.models.safetensors_copy import Progress, copy_tensors
from layerlimits.models.safetensors_header import Header, read_headers
from layerlimits.models.skeleton import skeleton
from layerlimits.models.stack import find_stack
from layerlimits.models.stored_quantization import renumbered
from layerlimits.models.weights_check import check_weights

# Files written in parallel: one processor cannot copy as fast as a fast disk writes.
_WRITERS = 2


@dataclass(frozen=True)
class _Shard:
    """A file to write: the header of its source, the new names of tensors by old names, and the name of the file."""

    source: Header
    names: dict[str, str]
    file: str

    @property
    def size(self) -> int:
        return sum(tensor.size for tensor in self.source.tensors if tensor.name in self.names)


def prune_files(
    folder: Path,
    removed: Iterable[int],
    out: Path,
    on_progress: Progress | None = None,
    structure: PreTrainedModel | None = None,
    *,
    keep_vision: bool = False,
) -> None:
    """Write the checkpoint in `folder` without these layers: config, generation config and safetensors files.

    The bytes of the kept tensors do not change. Each shard becomes one shard, unless all its tensors are removed.
    Layers beyond the depth of the model (multi-token prediction of DeepSeek-V3) are kept, and follow the kept layers.
    Of a multimodal checkpoint, the text model is written as a checkpoint of its own.

    Args:
        folder: a checkpoint that transformers loads without remote code.
        removed: layers in the numbering of the checkpoint, in any order.
        out: an existing folder other than `folder`.
        structure: the skeleton of the model, if already built; layers are removed from it.
        on_progress: called with the number of bytes of each piece written.
        keep_vision: write all parts of a multimodal checkpoint, under their names.
    Raises:
        UserError: see `models.locate.check`, `models.remove.check_layers`, `models.fields.pruned_fields` and
            `models.stack.find_stack`; or the layers are not in the files, or the files are damaged.
    """
    index = _read_index(folder)
    check(folder)
    config = configuration(folder)
    if out.resolve() == folder.resolve():
        raise UserError(f"{out} is the folder of the input model", "choose another output folder")
    structure = skeleton(config) if structure is None else structure
    depth = len(find_stack(structure))
    gone = check_layers(removed, depth)
    kept_layers = tuple(layer for layer in range(depth) if layer not in gone)
    stored, headers = read_headers(weight_files(folder)), text_headers(folder)
    _check_names(folder, stored, index)
    prefix = _prefix(folder, structure, {tensor.name for header in headers for tensor in header.tensors})
    remove(structure, gone)
    if keep_vision:
        config, headers = whole_configuration(folder), stored
        prefix = stored_names(folder).stored(f"{prefix}.").removesuffix(".")
    shards = _shards(headers, prefix, gone)
    _check_space(out, sum(shard.size for shard in shards))
    with ThreadPoolExecutor(_WRITERS) as threads:
        list(threads.map(lambda shard: copy_tensors(shard.source, shard.names, out / shard.file, on_progress), shards))
    if len(shards) > 1:
        _write_index(index or {}, shards, None if keep_vision else structure.num_parameters(), out)
    _set_fields(config, prefix, kept_layers)
    config.save_pretrained(out)
    generation = folder / "generation_config.json"
    if generation.exists():
        shutil.copyfile(generation, out / generation.name)


def _set_fields(config: Any, prefix: str, kept_layers: tuple[int, ...]) -> None:
    """Change the fields of a configuration that depend on the layers; `prefix` is that of their names in the files."""
    text = config.get_text_config()
    for name, value in pruned_fields(text, kept_layers).items():
        setattr(text, name, value)
    if getattr(config, "quantization_config", None) is not None:
        config.quantization_config = renumbered(config.quantization_config, prefix, kept_layers)


def _read_index(folder: Path) -> dict[str, Any] | None:
    """The index of the shards; None if there is none, or if it is not used."""
    if not (folder / INDEX).exists():
        return None
    index = read_index(folder)
    return None if (folder / SINGLE).exists() else index


def _check_names(folder: Path, headers: list[Header], index: Mapping[str, Any] | None) -> None:
    """Check that each tensor is in exactly one file, and that those of the index exist."""
    where: dict[str, Path] = {}
    for header in headers:
        for tensor in header.tensors:
            if tensor.name in where:
                raise UserError(
                    f"{tensor.name} is both in {where[tensor.name].name} and in {header.file.name}",
                    f"remove the files that do not belong to the model from {folder}",
                )
            where[tensor.name] = header.file
    missing = sorted(set(index["weight_map"]) - set(where)) if index else []
    if missing:
        raise UserError(
            f"the files of {folder} do not contain {len(missing)} of the tensors in their index: {missing[0]}",
            "download the model again",
        )


def _prefix(folder: Path, model: PreTrainedModel, names: set[str]) -> str:
    """The prefix of the names of the layers' tensors, up to the number of the layer.

    Names in files can differ from those of modules: transformers converts some names inside layers on loading, and
    leading parts can be missing ("h.0" for "transformer.h.0"). Therefore only the numbers of the layers must match.
    """
    stack = find_stack(model)
    path = next(path for path, module in model.named_modules() if module is stack.layers)
    parts = path.split(".")
    prefixes = [".".join(parts[first:]) for first in range(len(parts))]
    stored = {prefix: {layer for name in names if (layer := _layer(prefix, name)) is not None} for prefix in prefixes}
    absent = {prefix: set(range(len(stack))) - layers for prefix, layers in stored.items() if layers}
    complete = [prefix for prefix, layers in absent.items() if not layers]
    if not absent and _is_whole(folder):
        # Some architectures, such as nemotron_h, have another name for the list of layers in their files.
        complete = _numbered(names, len(stack))
    if len(complete) == 1:
        return complete[0]
    expected = " or ".join(f"{prefix}.0 to {prefix}.{len(stack) - 1}" for prefix in complete or prefixes)
    seen = ", ".join(f"{prefix} without layer {min(layers)}" for prefix, layers in absent.items() if layers)
    raise UserError(
        f"{folder.name} ({type(model).__name__}): the weight files do not have the {len(stack)} layers under one name: "
        f"expected {expected}, found {seen or min(complete or names)}",
        "check that the files belong to config.json, or report this architecture",
    )


def _is_whole(folder: Path) -> bool:
    """Whether transformers finds exactly the weights of the model in the files, whatever their names."""
    try:
        check_weights(folder, text_headers(folder))
    except UserError:
        return False
    return True


def _numbered(names: set[str], depth: int) -> list[str]:
    """The parts of names before their first number, if the tensors with that part have every number below `depth`."""
    numbers: dict[str, set[int]] = {}
    for name in names:
        if match := re.match(r"(.+?)\.(0|[1-9]\d*)\.", name):
            numbers.setdefault(match[1], set()).add(int(match[2]))
    return sorted(prefix for prefix, layers in numbers.items() if layers >= set(range(depth)))


def _layer(prefix: str, name: str) -> int | None:
    """The number of the layer to which a tensor belongs, or None."""
    match = re.match(rf"{re.escape(prefix)}\.(0|[1-9]\d*)\.", name)
    return int(match[1]) if match else None


def _shards(headers: list[Header], prefix: str, gone: tuple[int, ...]) -> list[_Shard]:
    """The files to write, numbered in the order of the old ones; files without tensors are omitted."""
    renamed = [(header, _renamed(header, prefix, gone)) for header in headers]
    remaining = [(header, names) for header, names in renamed if names]
    total = len(remaining)
    files = [f"model-{number:05d}-of-{total:05d}.safetensors" for number in range(1, total + 1)]
    return [_Shard(*shard, file) for shard, file in zip(remaining, files if total > 1 else [SINGLE], strict=True)]


def _renamed(header: Header, prefix: str, gone: tuple[int, ...]) -> dict[str, str]:
    """The new names of the kept tensors, by old names."""
    names = {}
    for tensor in header.tensors:
        layer = _layer(prefix, tensor.name)
        if layer is None:
            names[tensor.name] = tensor.name
        elif layer not in gone:
            number = layer - sum(other < layer for other in gone)
            names[tensor.name] = f"{prefix}.{number}.{tensor.name.removeprefix(f'{prefix}.{layer}.')}"
    return names


def _check_space(out: Path, size: int) -> None:
    free = shutil.disk_usage(out).free
    if free < size:
        raise UserError(
            f"{out} has {free / 1e9:.1f} GB free, but the pruned model needs {size / 1e9:.1f} GB",
            "free disk space, or write to another disk",
        )


def _write_index(index: Mapping[str, Any], shards: list[_Shard], parameters: int | None, out: Path) -> None:
    metadata = {**index.get("metadata", {}), "total_size": sum(shard.size for shard in shards)}
    if metadata.pop("total_parameters", None) is not None and parameters is not None:
        metadata["total_parameters"] = parameters
    weight_map = {name: shard.file for shard in shards for name in shard.names.values()}
    text = json.dumps({**index, "metadata": metadata, "weight_map": weight_map}, indent=2, sort_keys=True)
    (out / INDEX).write_text(text + "\n")
