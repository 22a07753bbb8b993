"""Correcting the configuration of a written checkpoint: it declares only what the checkpoint has."""

import json
import re
from pathlib import Path
from typing import Any

from layerlimits.foreign import read_object
from layerlimits.models.checkpoint import configuration, tensor_names, text_headers

_SLIDING = "sliding_attention"
# Number of layers for multi-token prediction, by architecture: num_nextn_predict_layers, mtp_num_hidden_layers, ...
_EXTRA_LAYERS = re.compile(r"(nextn|mtp).*(layers|modules)$")
_EXTRA_MODULE = re.compile(r"(^|[._])(mtp|nextn)([._]|$)")
_LAYER = re.compile(r"\blayers\.(\d+)\.")


def correct(origin: Path, written: Path) -> None:
    """Correct the configuration of a written checkpoint.

    - References to Python files, which are not copied, are removed.
    - If the files have no layers for multi-token prediction, none are declared.
    - If no layer slides over its context any more, the window is as wide as the context, because architectures such as
      Gemma 3 cannot be built without a window, and some servers apply it to all layers.

    Args:
        origin: the checkpoint that was pruned.
        written: the new checkpoint, complete but for these corrections.
    """
    for file in (written / "config.json", *written.glob("*_config.json")):
        content = read_object(file)
        if content.pop("auto_map", None) is not None:
            _write(file, content)
    file = written / "config.json"
    content = read_object(file)
    before, after = configuration(origin), configuration(written)
    if not _has_extra_layers(written, after.num_hidden_layers):
        for part in _parts(content):
            part.update(dict.fromkeys(filter(_EXTRA_LAYERS.search, part), 0))
    if window_is_unused(before, after):
        _parts(content)[-1]["sliding_window"] = after.max_position_embeddings
    _write(file, content)


def window_is_unused(before: Any, after: Any) -> bool:
    """Whether a configuration has a window of fewer positions than the model, which only layers used that are gone."""
    had, has = (_SLIDING in (getattr(config, "layer_types", None) or ()) for config in (before, after))
    window, positions = getattr(after, "sliding_window", None), getattr(after, "max_position_embeddings", None)
    return had and not has and isinstance(window, int) and isinstance(positions, int) and 0 < window < positions


def _parts(content: dict[str, Any]) -> list[dict[str, Any]]:
    """The configuration, and that of the text model inside; the last one describes the layers."""
    inner = content.get("text_config")
    return [content, inner] if isinstance(inner, dict) else [content]


def _has_extra_layers(folder: Path, depth: int) -> bool:
    """Whether the files have layers after the last one, or modules named for multi-token prediction."""
    after_last = any(
        int(number) >= depth
        for header in text_headers(folder)
        for tensor in header.tensors
        for number in _LAYER.findall(tensor.name)
    )
    return after_last or any(_EXTRA_MODULE.search(name) for name in tensor_names(folder))


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
