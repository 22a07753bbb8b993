"""Reading a model folder's config.json: what is wrong with it is said before anything is built from it."""

import json
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError

_CONFIG_KEYS_OF_OTHER_MODALITIES = ("vision_config", "audio_config", "text_config")
# Written beside config.json by ModelOpt, AutoGPTQ and AutoAWQ; transformers does not read them.
_QUANTIZATION_FILES = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
# What architectures call their number of layers.
_DEPTHS = ("num_hidden_layers", "num_layers", "num_blocks", "n_layers", "n_layer")
_MOST_BYTES = 16 << 20
_FIX = "download the model again"


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a model folder as it is written, for a kind of model that we can work with.

    Raises:
        UserError: no config.json, or one that is not JSON; a model_type that is not known; an encoder-decoder, a model
            of another modality, or quantized weights; a num_hidden_layers that is no count. Names the field.
    """
    if not (folder / "config.json").exists():
        raise UserError(
            f"{folder} is no model folder: it has no config.json", "give a folder made by save_pretrained, or a hub id"
        )
    config = read_json_object(folder / "config.json")
    if "model_type" not in config:
        raise UserError(
            f"{folder / 'config.json'} names no model_type", "give a folder made by transformers' save_pretrained"
        )
    _check_kind(folder, config)
    if "num_hidden_layers" in config:
        check_depth(folder, config["num_hidden_layers"])
    if (folder / "generation_config.json").exists():
        read_json_object(folder / "generation_config.json")
    return config


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON file of a model folder that holds one object.

    Raises:
        UserError: names the file.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} is too large: {path.stat().st_size:,} bytes of at most {_MOST_BYTES:,}", _FIX)
        content = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "check the file and its permissions") from None
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits and an object nested too deeply are not errors of JSON itself.
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UserError(f"{path} is not valid JSON: {reason}", _FIX) from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a JSON object: it holds a {type(content).__name__}", _FIX)
    return content


def check_depth(folder: Path, depth: object) -> int:
    """The number of layers, which must be a whole number of at least 1.

    Raises:
        UserError: names the field and its value.
    """
    if type(depth) is not int or depth < 1:
        raise UserError(
            f"{folder}/config.json cannot be used: num_hidden_layers is {depth!r:.60}, not a whole number of at least "
            "1",
            "set it to the number of layers in the weight files, or download the model again",
        )
    return depth


def check_counts(folder: Path, config: dict[str, Any], tensors: int) -> None:
    """Refuse more layers than there are tensors, whatever the architecture calls the field.

    Args:
        tensors: how many the weight files hold.
    Raises:
        UserError: names the field and its value.
    """
    for name in _DEPTHS:
        count = config.get(name)
        if isinstance(count, int) and count > tensors:
            raise UserError(
                f"{folder}/config.json cannot be used: {name} is {str(count)[:20]}, and the weight files "
                f"hold {tensors} tensors",
                "set it to the number of layers in the weight files, or download the model again",
            )


def _check_kind(folder: Path, config: dict[str, Any]) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = config["model_type"]
    if not isinstance(kind, str):
        raise UserError(f"{folder}/config.json cannot be used: model_type is {kind!r:.60}, not a text", _FIX)
    if config.get("is_encoder_decoder"):
        raise UserError(
            f"{folder.name} ({kind}) is an encoder-decoder: its two stacks have no common layer numbering",
            "give a decoder-only language model",
        )
    other = [key for key in _CONFIG_KEYS_OF_OTHER_MODALITIES if key in config]
    if other:
        raise UserError(
            f"{folder.name} ({kind}) is multimodal (its config has {', '.join(other)})",
            "give the text-only checkpoint of the same family",
        )
    _check_quantization(folder, config)
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise UserError(
            f"{folder.name} has the model type {kind!r}, which transformers knows no causal language model for",
            "give a causal language model; code inside a model folder is never run",
        )


def _check_quantization(folder: Path, config: dict[str, Any]) -> None:
    settings = config.get("quantization_config")
    if settings:
        method = settings.get("quant_method", "unknown method") if isinstance(settings, dict) else f"{settings!r:.60}"
        raise quantized(folder, f"{method}")
    for name in _QUANTIZATION_FILES:
        if (folder / name).exists():
            raise quantized(folder, f"it has a {name}")


def quantized(folder: Path, why: str) -> UserError:
    """The error for a checkpoint whose weights are quantized."""
    return UserError(
        f"{folder.name} is already quantized ({why}): removing layers needs the full-precision weights",
        "give the unquantized checkpoint; quantize after pruning",
    )
