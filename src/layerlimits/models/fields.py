"""Configuration fields that change when layers are removed: fields with one entry per layer, and fields that contain
layer numbers or counts.

The fields of the decoder configurations of transformers 5.23:
- one entry per layer, indexed by the kept layers: `layer_types`, `mlp_layer_types`, `layers_block_type`,
  `no_rope_layers`, `layer_rope_theta`, `num_attention_heads_per_layer`, `intermediate_size` and
  `activation_sparsity_pattern` (Gemma 3n), `moe_layer_freq` as a list, and any other list of the same length;
- layer numbers, renumbered: `mlp_only_layers`, `full_attn_idxs`, `attn_layer_indices`, `local_layer_ids`, `moe_layers`,
  `per_layer_config`;
- number of layers at the bottom of the stack, recounted: `first_k_dense_replace`, `num_dense_layers`,
  `max_window_layers`;
- rules by layer number, replaced by explicit lists: `decoder_sparse_step`, `moe_layer_start_index` with
  `moe_layer_end_index` and `moe_layer_interval`, `block_types`, `attention_types`; `scale_depth` depends on the depth;
- rules that a list overrides, unchanged if the list is present: see `_OVERRIDDEN`;
- rejected: see `_TIES`; `attn_layer_period` and `expert_layer_period` if the pattern would shift; `indexer_types`
  if a layer would lose the layer whose indexer it shares.
`models.structure_check` catches layers that compute with their own number, which no field shows.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from layerlimits.errors import UserError

_LISTS_OF_LAYERS = ("full_attn_idxs", "attn_layer_indices", "local_layer_ids", "moe_layers")
_COUNTS_FROM_BELOW = ("first_k_dense_replace", "num_dense_layers", "max_window_layers")
# If set, the output of a layer depends on other layers or on its own number.
_TIES = {
    "num_kv_shared_layers": "its last layers read the keys and values of earlier ones",
    "scale_attn_by_inverse_layer_idx": "every layer divides its attention by its own number",
    "rescale_every": "every layer divides its weights by a power of two of its own number",
    "hidden_size_per_layer_input": "its embeddings have a part for every layer",
    "ple_layer_ids": "the embeddings of these layers are outside the layers",
}
# A rule "every n-th layer", and the list with one entry per layer that overrides it.
_OVERRIDDEN = {
    "sliding_window_pattern": "layer_types",
    "full_attention_interval": "layer_types",
    "global_attn_every_n_layers": "layer_types",
    "layer_group_size": "layer_types",
    "no_rope_layer_interval": "no_rope_layers",
    "interleave_moe_layer_step": "moe_layers",
}
# Rules "layer number % period == offset" without such a list.
_PERIODS = (("attn_layer_period", "attn_layer_offset"), ("expert_layer_period", "expert_layer_offset"))


def pruned_fields(config: Any, kept_layers: tuple[int, ...]) -> dict[str, Any]:
    """The new values of the configuration fields that change when only `kept_layers` (ascending) remain.

    Fields with one entry per layer are indexed by the kept layers. The depth comes first, because some configurations
    check later fields against it.

    Raises:
        UserError: a field ties layers to each other or to their numbers; names the field.
    """
    depth = config.num_hidden_layers
    fields = config.to_dict()
    _refuse(config, fields, kept_layers)
    changed: dict[str, Any] = {"num_hidden_layers": len(kept_layers)}
    if "num_blocks" in fields:  # xLSTM: a second name of the depth
        changed["num_blocks"] = len(kept_layers)
    for name, value in fields.items():
        if name in _LISTS_OF_LAYERS and value is not None:
            changed[name] = _renumbered(value, kept_layers)
        elif name in _COUNTS_FROM_BELOW and isinstance(value, int):
            changed[name] = _counted(value, kept_layers)
        elif _has_an_entry_a_layer(config, name, value, depth):
            changed[name] = [value[layer] for layer in kept_layers]
    for rule in _RULES:
        changed |= rule(config, fields, kept_layers)
    return changed


def _renumbered(layers: Iterable[int], kept_layers: tuple[int, ...]) -> list[int]:
    return [kept_layers.index(layer) for layer in sorted(layers) if layer in kept_layers]


def _counted(count: int, kept_layers: tuple[int, ...]) -> int:
    """How many of the lowest `count` layers are kept."""
    return sum(layer < count for layer in kept_layers)


def _has_an_entry_a_layer(config: Any, name: str, value: Any, depth: int) -> bool:
    """Whether a value is a list with one entry per layer, and not by chance of the same length.

    Lists of token ids can have any length. If the architecture's default list differs in length from its default depth,
    the list does not have one entry per layer: multipliers, limits, repeating patterns.
    """
    if not isinstance(value, list | tuple) or len(value) != depth or "token" in name:
        return False
    usual: dict[str, Any] = _usual(type(config))  # type: ignore[arg-type]  # classes are hashable
    other = usual.get(name)
    return not isinstance(other, list | tuple) or len(other) == usual["num_hidden_layers"]


@lru_cache
def _usual(kind: type) -> dict[str, Any]:
    """The default fields of an architecture, and its depth; empty if it has no defaults."""
    try:
        config = kind()
        return {**config.to_dict(), "num_hidden_layers": config.num_hidden_layers}
    except Exception:  # Configurations reject their own defaults with errors of many kinds.
        return {}


def _refuse(config: Any, fields: dict[str, Any], kept_layers: tuple[int, ...]) -> None:
    for name, why in _TIES.items():
        if fields.get(name):
            raise UserError(
                f"cannot remove layers of {config.model_type}: {why} ({name} = {fields[name]})",
                f"use a model without {name}",
            )
    for name, instead in _OVERRIDDEN.items():
        # Read the attribute: a configuration can store the list under another name.
        if fields.get(name) and getattr(config, instead, None) is None:
            raise UserError(
                f"{name} = {fields[name]} of {config.model_type} determines the kind of each layer by its number",
                f"add the list {instead}, with one entry per layer, to config.json",
            )
    frequency = fields.get("moe_layer_freq", 1)
    if isinstance(frequency, int) and frequency > 1 and not fields.get("mlp_layer_types"):
        raise UserError(
            f"moe_layer_freq = {frequency} of {config.model_type} determines the kind of each layer by its number",
            "add the list mlp_layer_types, with one entry per layer, to config.json",
        )
    _refuse_orphans(config, fields.get("indexer_types") or (), kept_layers)
    if not fields.get("layers_block_type"):
        for names in _PERIODS:
            _refuse_shift(config, fields, names, kept_layers)


def _refuse_orphans(config: Any, indexers: Sequence[str], kept_layers: tuple[int, ...]) -> None:
    """GLM-5: a layer with a "shared" indexer uses the selection of the last layer with a "full" indexer."""
    source = None
    for layer, indexer in enumerate(indexers):
        source = layer if indexer == "full" else source
        if layer in kept_layers and source is not None and source not in kept_layers:
            raise UserError(
                f"{config.model_type} shares indexers between layers (indexer_types): layer {layer} uses the "
                f"indexer of layer {source}, which would be removed",
                f"keep layer {source}, or also remove layer {layer}",
            )


def _refuse_shift(config: Any, fields: dict[str, Any], names: tuple[str, str], kept_layers: tuple[int, ...]) -> None:
    """Reject a removal that gives a kept layer a number at which layers are of another kind."""
    period, offset = (fields.get(name) for name in names)
    if period is None or offset is None:
        return
    for new, old in enumerate(kept_layers):
        if (new % period == offset) != (old % period == offset):
            raise UserError(
                f"{names[0]} = {period} and {names[1]} = {offset} of {config.model_type} determine the kind of each "
                f"layer by its number: layer {old} would become layer {new}, which is of another kind",
                f"remove {period} consecutive layers, or a multiple of {period}",
            )


def _sparse_step(_: Any, fields: dict[str, Any], kept_layers: tuple[int, ...]) -> dict[str, Any]:
    """Qwen MoE: layer l has experts if it is not in mlp_only_layers and (l + 1) % decoder_sparse_step is 0."""
    step, dense = fields.get("decoder_sparse_step"), fields.get("mlp_only_layers")
    if step is None:
        return {} if dense is None else {"mlp_only_layers": _renumbered(dense, kept_layers)}
    without = [layer for layer in kept_layers if layer in (dense or ()) or (layer + 1) % step]
    return {"mlp_only_layers": _renumbered(without, kept_layers), "decoder_sparse_step": 1}


def _range_of_experts(config: Any, fields: dict[str, Any], kept_layers: tuple[int, ...]) -> dict[str, Any]:
    """ERNIE 4.5: layer l has experts if start <= l <= end and (l + 1) % interval is 0."""
    names = ("moe_layer_start_index", "moe_layer_end_index", "moe_layer_interval")
    if any(fields.get(name) is None for name in names):
        return {}
    start, end, interval = (fields[name] for name in names)
    end = config.num_hidden_layers - 1 if end == -1 else end
    sparse = [new for new, old in enumerate(kept_layers) if start <= old <= end and (old + 1) % interval == 0]
    if not sparse:
        return dict(zip(names, (len(kept_layers), len(kept_layers) - 1, 1), strict=True))
    if sparse != list(range(sparse[0], sparse[-1] + 1)):
        raise UserError(
            f"{names[2]} = {interval} of {config.model_type} determines by number which layers have experts: the kept "
            f"layers with experts would be {', '.join(map(str, sparse))}, which are not consecutive",
            "remove other layers, so that the kept layers with experts are consecutive",
        )
    return dict(zip(names, (sparse[0], sparse[-1], 1), strict=True))


def _repeated_pattern(_: Any, fields: dict[str, Any], kept_layers: tuple[int, ...]) -> dict[str, Any]:
    """RecurrentGemma: block_types is repeated up to the depth of the model."""
    pattern = fields.get("block_types")
    return {"block_types": [pattern[layer % len(pattern)] for layer in kept_layers]} if pattern else {}


def _counted_pattern(_: Any, fields: dict[str, Any], kept_layers: tuple[int, ...]) -> dict[str, Any]:
    """GPT-Neo: attention_types has pairs of a pattern and its number of repetitions; attention_layers is derived."""
    layers = fields.get("attention_layers")
    return {"attention_types": [[[layers[layer] for layer in kept_layers], 1]]} if layers else {}


def _scale_by_depth(config: Any, fields: dict[str, Any], kept_layers: tuple[int, ...]) -> dict[str, Any]:
    """MiniCPM: the output of each layer is multiplied by scale_depth / sqrt(depth), which must not change."""
    scale = fields.get("scale_depth")
    return {} if scale is None else {"scale_depth": scale * math.sqrt(len(kept_layers) / config.num_hidden_layers)}


def _overrides(_: Any, fields: dict[str, Any], kept_layers: tuple[int, ...]) -> dict[str, Any]:
    """Any architecture: per_layer_config maps layer numbers (as text) to fields that differ in that layer."""
    other = {int(layer): values for layer, values in (fields.get("per_layer_config") or {}).items()}
    if not other:
        return {}
    return {"per_layer_config": {new: other[old] for new, old in enumerate(kept_layers) if old in other}}


_RULES: tuple[Callable[[Any, dict[str, Any], tuple[int, ...]], dict[str, Any]], ...] = (
    _sparse_step,
    _range_of_experts,
    _repeated_pattern,
    _counted_pattern,
    _scale_by_depth,
    _overrides,
)
