"""Checking the weight files of a checkpoint against its configuration, from headers, before weights are loaded.

transformers initializes missing weights randomly and ignores unexpected ones, with at most a warning.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError
from layerlimits.models.checkpoint import is_multimodal, loading, whole_configuration
from layerlimits.models.config_check import quantized
from layerlimits.models.quiet import quiet
from layerlimits.models.safetensors_header import Header, StoredTensor

_FIX = "download the model again, or correct config.json: it must describe the weight files"
# Names of tensors of text models inside multimodal ones begin with one of these.
_OF_TEXT_MODELS = ("model.layers.", "model.embed_tokens.", "model.norm.", "lm_head.")
# Tables and masks that older versions of transformers stored, and newer versions compute.
_COMPUTED = re.compile(r"(inv_freq|masked_bias|position_ids)$")


def check_types(folder: Path, headers: Iterable[Header]) -> None:
    """Check that no weights are stored as integers, which are quantized weights without an entry in config.json.

    Raises:
        UserError: a weight is an integer; names the first such tensor.
    """
    for header in headers:
        for tensor in header.tensors:
            if tensor.name.endswith("weight") and tensor.dtype[:1] in "IU" and len(tensor.shape) > 1:
                raise quantized(folder, f"{tensor.name} is {tensor.dtype}")


def check_layer_numbers(folder: Path, headers: Iterable[Header], depth: int) -> None:
    """Check that the weight files have weights for every layer, without building anything of size `depth`.

    Args:
        depth: number of layers in config.json.
    Raises:
        UserError: a layer has no weights; names the first one.
    """
    stacks: dict[str, list[int]] = {}
    for header in headers:
        for tensor in header.tensors:
            numbered = re.match(r"(.*?)\.(\d{1,9})\.", tensor.name)
            if numbered:
                stacks.setdefault(numbered[1], []).append(int(numbered[2]))
    if not stacks:
        return
    # Lists of other modules are shorter than the list of layers, or as long (XLM has one for each part of a layer).
    prefix, numbers = max(stacks.items(), key=lambda stack: len(stack[1]))
    stored = set(numbers)
    missing = next(layer for layer in range(len(stored) + 1) if layer not in stored)
    if missing < depth:
        raise UserError(
            f"{folder.name}: weights missing for layer {missing}: config.json has num_hidden_layers = {depth}, but "
            f"the weight files have {len(stored)} layers ({prefix}.{min(stored)} to {prefix}.{max(stored)})",
            _FIX,
        )


def check_weights(folder: Path, headers: Sequence[Header]) -> None:
    """Check, without reading weights, that transformers would load the weight files completely.

    Args:
        headers: the headers of all weight files of the folder.
    Raises:
        UserError: tensors are missing, unexpected or of another shape; or transformers cannot build the model.
    """
    from transformers import AutoModelForCausalLM

    if not any((folder / name).exists() for name in ("model.safetensors", "model.safetensors.index.json")):
        # transformers does not find weight files with other names; loading then fails.
        return
    # Its annotation does not cover `output_loading_info`.
    auto: Any = AutoModelForCausalLM
    with quiet():
        try:
            model, report = auto.from_pretrained(
                folder,
                device_map="meta",
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **loading(folder),
            )
        except UserError:
            raise
        except Exception as error:  # Architectures reject configurations with errors of many kinds.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"cannot load {folder}: {reason}", _FIX) from None
    check_report(folder, report, model.config, headers)


def check_report(folder: Path, report: Mapping[str, Any], config: Any, headers: Sequence[Header]) -> None:
    """Check the report of transformers on loading a checkpoint.

    Tied weights and the keys that a model class ignores are not in the report. Unexpected keys are allowed for
    multi-token prediction (`num_nextn_predict_layers` after the last layer) and for stored masks.

    Args:
        report: "missing_keys", "unexpected_keys" and "mismatched_keys" of `output_loading_info`.
    Raises:
        UserError: tensors are missing, unexpected or of another shape.
    """
    stored = {tensor.name: tensor for header in headers for tensor in header.tensors}
    missing = sorted(report["missing_keys"], key=_order)
    unexpected = sorted((key for key in report["unexpected_keys"] if not _ignored(key, config, stored)), key=_order)
    if is_multimodal(whole_configuration(folder)):
        # The other parts of the checkpoint.
        unexpected = [key for key in unexpected if key.startswith(_OF_TEXT_MODELS)]
    misshapen = sorted(report["mismatched_keys"], key=lambda entry: _order(entry[0]))
    problems = [f"weights missing{_layers(missing)} ({_listed(missing)})"] if missing else []
    if unexpected:
        problems.append(f"unexpected weights{_layers(unexpected)} ({_listed(unexpected)})")
    if misshapen:
        name, held, wanted = misshapen[0]
        more = f", and {len(misshapen) - 1} more" if misshapen[1:] else ""
        problems.append(f"{name} has shape {tuple(held)} in the file, but {tuple(wanted)} in config.json{more}")
    if problems:
        raise UserError(f"{folder.name}: {'; '.join(problems)}", _FIX)


def _ignored(key: str, config: Any, stored: Mapping[str, StoredTensor]) -> bool:
    layer, depth = _layer(key), config.num_hidden_layers
    extra = getattr(config, "num_nextn_predict_layers", None)
    if layer is not None and isinstance(extra, int) and depth <= layer < depth + extra:
        return True
    if _COMPUTED.search(key):
        return True
    # A causal mask, (1, 1, T, T). The leading part of a name can be missing in files.
    shapes = [tensor.shape for name, tensor in stored.items() if key == name or key.endswith(f".{name}")]
    return any(len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3] for shape in shapes)


def _layer(key: str) -> int | None:
    numbered = re.search(r"\.(\d+)\.", key)
    return int(numbered[1]) if numbered else None


def _order(key: str) -> tuple[int, str]:
    layer = _layer(key)
    return (-1 if layer is None else layer, key)


def _layers(keys: Iterable[str]) -> str:
    """The text " for layer 4"; empty if no key belongs to a layer."""
    numbers = sorted({layer for key in keys if (layer := _layer(key)) is not None})
    if not numbers:
        return ""
    more = f" and {len(numbers) - 3} more" if numbers[3:] else ""
    return f" for layer{'s' if numbers[1:] else ''} {', '.join(map(str, numbers[:3]))}{more}"


def _listed(keys: Sequence[str]) -> str:
    return keys[0] + (f" and {len(keys) - 1} more" if keys[1:] else "")
