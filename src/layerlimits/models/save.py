"""Writing a pruned checkpoint that stock transformers loads, with a recipe of how it was made."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.foreign import kind, read_object
from layerlimits.models.card import CARD, license_of, model_card
from layerlimits.models.locate import OTHER_WEIGHTS, configuration, weight_files
from layerlimits.models.safetensors_header import read_headers
from layerlimits.models.shards import prune_files
from layerlimits.models.structure_check import check_structure
from layerlimits.models.weights_check import check_weights
from layerlimits.paths import check_writable
from layerlimits.types import ModelRef, PrunePlan
from layerlimits.version import __version__

Progress = Callable[[int], None] | None

RECIPE = "layerlimits.json"
_NO_RECIPE = "remove the file if another program wrote it, or prune the model again"
# Fields that are read again, and their types.
_RECIPE_TYPES = {"base": str, "base_fingerprint": str, "removed": list, "calibration": list, "finetune": dict}
# Everything else is copied. The card of the base model is replaced.
_WRITTEN = {"config.json", "generation_config.json", RECIPE, CARD}
_NOT_COPIED = (".safetensors", ".index.json", ".py", *OTHER_WEIGHTS)
_TEMPLATES = "additional_chat_templates"
# Number types in files that can be written again.
_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_ONE_FILE = "100TB"


def save_pruned(
    folder: Path,
    ref: ModelRef | Callable[[], ModelRef],
    plan: PrunePlan,
    out: Path,
    command: str,
    on_progress: Progress = None,
) -> Path:
    """Write the checkpoint in `folder` without the plan's layers to `out`, file by file. `out` appears when complete.

    No weights are loaded. The bytes and types of the kept tensors do not change.

    Args:
        ref: the reference of the checkpoint, or a function that returns it; it is called last, so that files can be
            hashed in the meantime.
        on_progress: called with the number of bytes just written.
    Raises:
        UserError: the output folder is not empty or cannot be written; transformers would not load what is written; or
            see `models.shards.prune_files` and `models.structure_check.check_structure`.
    """
    check_writable(out, empty=True)
    structure = check_structure(configuration(folder), plan.removed)
    with _appearing(folder, out, lambda: recipe(ref() if callable(ref) else ref, plan, command)) as partial:
        prune_files(folder, plan.removed, partial, on_progress, structure)
        if not _names(folder) <= structure.state_dict().keys():
            _check_written(folder, partial)
    return out


def _names(folder: Path) -> set[str]:
    """The names of the tensors in the weight files of a folder."""
    return {tensor.name for header in read_headers(weight_files(folder)) for tensor in header.tensors}


def _check_written(folder: Path, written: Path) -> None:
    """Check that transformers would load the written files completely. Files can number what belongs to layers in a
    list of its own, which renaming layers does not know (inkling2_text).

    Raises:
        UserError: It would not.
    """
    try:
        check_weights(written, read_headers(weight_files(written)))
    except UserError as error:
        why = error.problem.removeprefix(f"{written.name}: ")
        raise UserError(
            f"cannot prune {folder} file by file: its files number parts of layers in another way ({why})",
            "use `layerlimits sweep` or `study`, which remove layers in memory, or report this architecture",
        ) from None


def recipe(ref: ModelRef, plan: PrunePlan, command: str) -> dict[str, Any]:
    """The recipe stored in a pruned folder."""
    return {
        "made_by": f"layerlimits {__version__}",
        "base": ref.path,
        "base_fingerprint": ref.base_fingerprint,
        "base_layers": plan.layers,
        "removed": list(plan.removed),
        "method": plan.method,
        "scores": list(plan.scores),
        "protected": list(plan.protected),
        "replacement": plan.replacement,
        "filling": dict(plan.filling),
        "calibration": list(plan.calibration),
        "command": command,
    }


def write_checkpoint(model: PreTrainedModel, origin: Path, out: Path, about: dict[str, Any]) -> Path:
    """Save a model in memory, with the tokenizer, templates and licences of `origin`."""
    with _appearing(origin, out, lambda: about) as partial:
        model.save_pretrained(partial)
        _without_extra_layers(partial / "config.json")
    return out


def write_as_stored(model: PreTrainedModel, origin: Path, out: Path, about: dict[str, Any]) -> Path:
    """As `write_checkpoint`, in the number types of `origin` and with files of at most the size of its largest one,
    whatever type the model computes in.
    """
    headers = read_headers(weight_files(origin))
    tensors = [tensor for header in headers for tensor in header.tensors if tensor.dtype in _TYPES]
    elements = Counter[str]()
    for tensor in tensors:
        elements[tensor.dtype] += tensor.elements
    usual = elements.most_common(1)[0][0] if elements else "F32"
    # The same parameter of every layer has the same type.
    types = {_without_numbers(tensor.name): tensor.dtype for tensor in tensors}
    sizes = [sum(tensor.size for tensor in header.tensors) for header in headers]
    with _appearing(origin, out, lambda: about) as partial:
        state = _converted(model, lambda name: _TYPES[types.get(_without_numbers(name), usual)])
        model.save_pretrained(partial, state_dict=state, max_shard_size=max(sizes) if len(sizes) > 1 else _ONE_FILE)
        _without_extra_layers(partial / "config.json")
        config = read_object(partial / "config.json")
        written = config | {"dtype": str(_TYPES[usual]).removeprefix("torch.")}
        (partial / "config.json").write_text(json.dumps(written, indent=2, sort_keys=True) + "\n")
    return out


def _without_numbers(name: str) -> str:
    return re.sub(r"\d+", "", name)


def _converted(model: PreTrainedModel, type_of: Callable[[str], torch.dtype]) -> dict[str, Tensor]:
    """The weights of a model in other number types. Weights that are tied stay tied."""
    converted: dict[tuple[int, torch.Size], Tensor] = {}
    state = {}
    for name, tensor in model.state_dict().items():
        key = (tensor.data_ptr(), tensor.shape)
        if key not in converted:
            converted[key] = tensor.to(type_of(name)) if tensor.is_floating_point() else tensor
        state[name] = converted[key]
    return state


def _without_extra_layers(file: Path) -> None:
    """Set the number of layers for multi-token prediction to 0: transformers neither loads nor saves these layers."""
    config = read_object(file)
    if config.get("num_nextn_predict_layers"):
        file.write_text(json.dumps(config | {"num_nextn_predict_layers": 0}, indent=2, sort_keys=True) + "\n")


def window_warnings(base: Any, out: Path) -> tuple[str, ...]:
    """A warning if a pruned checkpoint declares a sliding window that none of its layers uses any more.

    The field stays, because architectures such as Gemma 3 cannot be built without it.

    Args:
        base: The configuration of the base model.
        out: The folder of the pruned checkpoint.
    """
    pruned = configuration(out)
    window = getattr(pruned, "sliding_window", None)
    before, after = (getattr(config, "layer_types", None) or () for config in (base, pruned))
    if not window or "sliding_attention" not in before or "sliding_attention" in after:
        return ()
    return (
        f"all kept layers have full attention, but config.json still declares sliding_window = {window}, as "
        f"{pruned.model_type} requires; some servers apply it to all layers",
    )


@contextmanager
def _appearing(origin: Path, out: Path, about: Callable[[], dict[str, Any]]) -> Iterator[Path]:
    """A temporary folder to write to, which becomes `out` when complete, with tokenizer, licence, recipe and card."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        _copy_companions(origin, partial)
        _without_remote_code(partial)
        made = about()
        (partial / RECIPE).write_text(json.dumps(made, indent=1) + "\n")
        (partial / CARD).write_text(model_card(out.name, made, license_of(origin)), encoding="utf-8")
        if out.exists():
            out.rmdir()
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy_companions(origin: Path, out: Path) -> None:
    """Copy the files beside weights and configuration: tokenizer, templates, licences, processors."""
    for file in (*origin.iterdir(), *origin.glob(f"{_TEMPLATES}/*.jinja")):
        name = file.name
        if file.is_file() and not name.startswith(".") and name not in _WRITTEN and not name.endswith(_NOT_COPIED):
            target = out / file.relative_to(origin)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, target)


def _without_remote_code(folder: Path) -> None:
    """Remove references to Python files, which are not copied."""
    for file in (folder / "config.json", *folder.glob("*_config.json")):
        content = read_object(file)
        if content.pop("auto_map", None) is not None:
            file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def read_recipe(folder: Path) -> dict[str, Any] | None:
    """The recipe of a pruned folder, or None.

    Raises:
        UserError: The file is not a recipe; names the field.
    """
    path = folder / RECIPE
    if not path.exists():
        return None
    about = read_object(path, _NO_RECIPE)
    for name, expected in _RECIPE_TYPES.items():
        if name in about and not isinstance(about[name], expected):
            raise UserError(f"{path} is not a recipe: {name} is {kind(about[name])}", _NO_RECIPE)
    if not isinstance(about.get("finetune", {}).get("key", ""), str):
        raise UserError(f"{path} is not a recipe: finetune.key is not a string", _NO_RECIPE)
    return about
