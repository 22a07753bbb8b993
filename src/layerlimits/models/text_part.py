"""The text model inside a multimodal checkpoint: its configuration, and which tensors of the files belong to it.

The text model is the causal language model that stock transformers builds from `text_config`. The files of multimodal
checkpoints have its tensors under a prefix, such as "language_model.model." (Gemma 3, Llama 4, Mistral 3, LLaVA),
"model.language_model." (Qwen3-VL, Qwen3.5), or none (Qwen2-VL, Qwen2.5-VL).
"""

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError

_EMBEDDING = "embed_tokens.weight"
_BASE, _HEAD = "model.", "lm_head."
# Where the text model has no prefix of its own, its neighbours are told by their names.
_OTHER_PARTS = re.compile(r"vis|image|audio|speech|video|projector|connector|resampler|mm_")
# Text models without a causal class of their own. Their rotary embeddings have three axes, which are equal in text, so
# that they compute what the text-only family computes.
_SAME_AS = {
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen3_vl_text": "qwen3",
    "qwen3_vl_moe_text": "qwen3_moe",
}
# Fields that a multimodal configuration can have beside `text_config`.
_SHARED = ("bos_token_id", "eos_token_id", "pad_token_id", "dtype")
PROCESSORS = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")


@dataclass(frozen=True)
class TextNames:
    """Names of the text model's tensors in the files of a checkpoint, and in the files of a text-only one.

    Args:
        base: what stands for "model." in the files.
        head: what stands for "lm_head." in the files.
        others: first parts of names after `base` that belong to other modules.
    """

    base: str
    head: str
    others: frozenset[str] = frozenset()

    def text(self, name: str) -> str | None:
        """The name of a stored tensor in a text-only checkpoint; None if it is not part of the text model."""
        if name.startswith(self.head):
            return _HEAD + name.removeprefix(self.head)
        if name.startswith(self.base):
            rest = name.removeprefix(self.base)
            if rest.partition(".")[0] not in self.others:
                return _BASE + rest
        return None

    def stored(self, name: str) -> str:
        """The name in the files of a tensor of the text model."""
        for new, old in ((_HEAD, self.head), (_BASE, self.base)):
            if name.startswith(new):
                return old + name.removeprefix(new)
        return name

    @property
    def key_mapping(self) -> dict[str, str]:
        """The same as patterns and targets, for `from_pretrained`."""
        pairs = ((self.base, _BASE), (self.head, _HEAD))
        return {f"^{re.escape(old)}": new for old, new in pairs if old != new}


def has_text_part(kind: object) -> bool:
    """Whether models of a type consist of a text model and others."""
    from transformers import CONFIG_MAPPING

    return isinstance(kind, str) and kind in CONFIG_MAPPING and "text_config" in CONFIG_MAPPING[kind].sub_configs


def text_type(config: Mapping[str, Any]) -> str:
    """The model type of the text model of a multimodal config.json."""
    from transformers import CONFIG_MAPPING

    inner = config.get("text_config")
    declared = inner.get("model_type") if isinstance(inner, dict) else None
    if declared is None:
        # Older files have the fields of the text model at their top level.
        sub: Any = CONFIG_MAPPING[config["model_type"]].sub_configs["text_config"]
        declared = getattr(sub, "model_type", None) or "llama"
    return str(declared)


def causal_type(kind: str) -> str | None:
    """The model type of the causal language model that computes what a text model does; None if there is none."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = _SAME_AS.get(kind, kind)
    return kind if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else None


def text_config(whole: Any, tied: bool) -> Any:
    """The configuration of the text model as a model of its own.

    Args:
        whole: the configuration of the multimodal model.
        tied: whether the files have no output embeddings of their own.
    """
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    inner = whole.get_text_config()
    kind = causal_type(inner.model_type)
    assert kind is not None
    if kind == inner.model_type:
        config = copy.deepcopy(inner)
    else:
        config = CONFIG_MAPPING[kind](**_without_axes(inner.to_dict()))
    for name in _SHARED:
        value = getattr(whole, name, None)
        if value is not None:
            setattr(config, name, copy.deepcopy(value))
    config.tie_word_embeddings = tied
    config.architectures = [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind]]
    return config


def _without_axes(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a text model whose rotary embeddings have three axes, as those of one with a single axis."""
    kept = {name: value for name, value in fields.items() if name not in ("model_type", "rope_scaling")}
    rope = kept.get("rope_parameters")
    if isinstance(rope, dict):
        kept["rope_parameters"] = {
            name: value for name, value in rope.items() if name != "type" and not name.startswith("mrope")
        }
    return kept


def text_names(folder: Path, names: Iterable[str]) -> TextNames:
    """Find the text model among the names of the tensors in the files of a multimodal checkpoint.

    Raises:
        UserError: no or several prefixes have embeddings and layers; names them.
    """
    stored = set(names)
    bases = {name.removesuffix(_EMBEDDING) for name in stored if name.endswith(f".{_EMBEDDING}")}
    bases = {base for base in bases if any(name.startswith(f"{base}layers.0.") for name in stored)}
    if len(bases) != 1:
        found = ", ".join(f"{base}{_EMBEDDING}" for base in sorted(bases)) or min(stored, default="no tensor")
        raise UserError(
            f"{folder.name}: the weight files have no recognizable text model: expected one list of layers beside "
            f"{_EMBEDDING}, found {found}",
            "use the text-only checkpoint of the same family, or report this architecture",
        )
    base = bases.pop()
    heads = {match[0] for name in stored if (match := re.match(r"(\w+\.)?lm_head\.", name))}
    parts = {name.removeprefix(base).partition(".")[0] for name in stored if name.startswith(base)}
    others = frozenset(part for part in parts if base == _BASE and _OTHER_PARTS.search(part))
    return TextNames(base, min(heads, default=_HEAD), others)
