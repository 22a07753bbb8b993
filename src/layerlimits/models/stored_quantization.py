"""Checkpoints in 8 or 4 bits that transformers widens on any device: fp8 (DeepSeek-V3) and mxfp4 (GPT-OSS).

Deleting layers file by file keeps their bytes. Whatever computes with the weights loads them widened to bfloat16.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from layerlimits.models.text_part import TextNames

# Methods by the name in quantization_config, with the number of bits of a weight.
WIDENED = {"fp8": 8, "mxfp4": 4}
# Lists of modules, whose names can contain the number of a layer.
_LISTS = ("modules_to_not_convert", "modules_to_convert", "ignored_layers")


def method_of(settings: Any) -> str | None:
    """The name of the method in a quantization_config; None if it has none."""
    method = settings.get("quant_method") if isinstance(settings, Mapping) else getattr(settings, "quant_method", None)
    return None if method is None else str(getattr(method, "value", method))


def widening(settings: Any) -> dict[str, Any]:
    """The quantization_config with which transformers widens the weights."""
    return {**_fields(settings), "dequantize": True}


def for_text_model(settings: Any, names: TextNames) -> dict[str, Any]:
    """The quantization_config of the text model of a multimodal checkpoint, as a checkpoint of its own."""
    return _with_lists(settings, lambda name: _text(name, names))


def renumbered(settings: Any, prefix: str, kept_layers: tuple[int, ...]) -> dict[str, Any]:
    """A quantization_config without the removed layers.

    Args:
        settings: its content.
        prefix: the names of modules up to the number of their layer; leading parts can be missing in the lists.
        kept_layers: the layers that remain, ascending.
    """
    parts = prefix.split(".")
    forms = "|".join(re.escape(".".join(parts[first:])) for first in range(len(parts)))
    numbered = re.compile(rf"^({forms})\.(\d+)(?=\.|$)")

    def new_name(name: str) -> str | None:
        match = numbered.match(name)
        if match is None:
            return name
        layer = int(match[2])
        return f"{match[1]}.{kept_layers.index(layer)}{name[match.end() :]}" if layer in kept_layers else None

    return _with_lists(settings, new_name)


def _text(name: str, names: TextNames) -> str | None:
    # Names stand for modules, and patterns such as "lm_head" for any of that name.
    renamed = names.text(f"{name}.")
    if renamed is not None:
        return renamed[:-1]
    return name if "." not in name or "*" in name else None


def _with_lists(settings: Any, rename: Callable[[str], str | None]) -> dict[str, Any]:
    fields = _fields(settings)
    for name in _LISTS:
        if isinstance(fields.get(name), list):
            fields[name] = [new for old in fields[name] if (new := rename(str(old))) is not None]
    return fields


def _fields(settings: Any) -> dict[str, Any]:
    return dict(settings) if isinstance(settings, Mapping) else dict(settings.to_dict())
