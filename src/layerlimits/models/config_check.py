"""Reading and checking the config.json of a model folder, before anything is built from it."""

from pathlib import Path
from typing import Any

from layerlimits.errors import UserError
from layerlimits.foreign import DOWNLOAD_AGAIN, read_object
from layerlimits.models.stored_quantization import WIDENED, method_of
from layerlimits.models.text_part import causal_type, has_text_part, text_type

_CONFIG_KEYS_OF_OTHER_MODALITIES = ("vision_config", "audio_config", "text_config")
# Written beside config.json by ModelOpt, AutoGPTQ and AutoAWQ; transformers does not read them.
_QUANTIZATION_FILES = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
# Names of the field for the number of layers, by architecture.
_DEPTHS = ("num_hidden_layers", "num_layers", "num_blocks", "n_layers", "n_layer")


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config.json of a model folder, and check that layerlimits supports the model.

    Raises:
        UserError: config.json is missing or not valid JSON; the model_type is unknown; the model is an encoder-decoder,
            multimodal without a causal text model, or quantized by a method whose weights cannot be widened;
            num_hidden_layers is not a positive whole number. Names the field.
    """
    if not (folder / "config.json").exists():
        file = next(folder.glob("*.gguf"), None)
        raise UserError(
            f"{folder} is not a model folder: it has no config.json",
            f"give the file {file.name} itself" if file else "use a folder written by save_pretrained, or a hub id",
        )
    config = read_object(folder / "config.json")
    if "model_type" not in config:
        raise UserError(
            f"{folder / 'config.json'} has no model_type", "use a folder written by save_pretrained of transformers"
        )
    _check_kind(folder, config)
    inner = config.get("text_config")
    for fields in (config, inner if isinstance(inner, dict) else {}):
        if "num_hidden_layers" in fields:
            check_depth(folder, fields["num_hidden_layers"])
    if (folder / "generation_config.json").exists():
        read_object(folder / "generation_config.json")
    return config


def check_depth(folder: Path, depth: object) -> int:
    """Check the number of layers, which must be a whole number of at least 1, and return it.

    Raises:
        UserError: it is not; names the field and its value.
    """
    if type(depth) is not int or depth < 1:
        raise UserError(
            f"{folder}/config.json is invalid: num_hidden_layers is {depth!r:.60}, not a whole number of at least 1",
            "set it to the number of layers in the weight files, or download the model again",
        )
    return depth


def check_counts(folder: Path, config: dict[str, Any], tensors: int) -> None:
    """Check that the configuration has no more layers than the weight files have tensors.

    Args:
        tensors: number of tensors in the weight files.
    Raises:
        UserError: it has more; names the field and its value.
    """
    for name in _DEPTHS:
        count = config.get(name)
        if isinstance(count, int) and count > tensors:
            raise UserError(
                f"{folder}/config.json is invalid: {name} is {str(count)[:20]}, but the weight files have only "
                f"{tensors} tensors",
                "set it to the number of layers in the weight files, or download the model again",
            )


def _check_kind(folder: Path, config: dict[str, Any]) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = config["model_type"]
    if not isinstance(kind, str):
        raise UserError(f"{folder}/config.json is invalid: model_type is {kind!r:.60}, not a string", DOWNLOAD_AGAIN)
    if config.get("is_encoder_decoder"):
        raise UserError(
            f"{folder.name} ({kind}) is an encoder-decoder: its two stacks have no common layer numbering",
            "use a decoder-only language model",
        )
    _check_modalities(folder, config)
    _check_quantization(folder, config)
    if not has_text_part(kind) and kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise UserError(
            f"{folder.name} has the model type {kind!r}, for which transformers has no causal language model",
            "use a causal language model; layerlimits never runs code from a model folder",
        )


def _check_modalities(folder: Path, config: dict[str, Any]) -> None:
    """Check that a multimodal model has a text model that transformers can load on its own."""
    kind, fix = config["model_type"], "use the text-only checkpoint of the same family"
    if has_text_part(kind):
        inner = text_type(config)
        if causal_type(inner) is None:
            raise UserError(
                f"{folder.name} ({kind}) is multimodal, and transformers has no causal language model for its text "
                f"model ({inner!r:.60})",
                fix,
            )
        return
    other = [key for key in _CONFIG_KEYS_OF_OTHER_MODALITIES if key in config]
    if other:
        raise UserError(f"{folder.name} ({kind}) is multimodal (its config has {', '.join(other)})", fix)


def _check_quantization(folder: Path, config: dict[str, Any]) -> None:
    settings = config.get("quantization_config")
    if settings:
        method = method_of(settings) or "unknown method" if isinstance(settings, dict) else f"{settings!r:.60}"
        if method not in WIDENED:
            raise quantized(folder, method)
        return
    for name in _QUANTIZATION_FILES:
        if (folder / name).exists():
            raise quantized(folder, f"it has a {name}")


def quantized(folder: Path, why: str) -> UserError:
    """The error for a checkpoint whose weights are quantized."""
    return UserError(
        f"{folder.name} is already quantized ({why}): removing layers needs the full-precision weights, or those in "
        f"{' or '.join(WIDENED)}, which can be widened",
        "use the unquantized checkpoint, and quantize after pruning",
    )
