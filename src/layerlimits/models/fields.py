"""Configuration fields that change when layers go: those with one entry a layer, and those that name or count layers.

The decoder configurations of transformers 5.23, as read:
- one entry a layer, indexed: `layer_types`, `mlp_layer_types`, `layers_block_type`, `no_rope_layers`,
  `layer_rope_theta`, `num_attention_heads_per_layer`, `intermediate_size` and `activation_sparsity_pattern` (Gemma 3n),
  `moe_layer_freq` as a list, and any other list as long as the model is deep;
- layer numbers, renumbered: `mlp_only_layers`, `full_attn_idxs`, `attn_layer_indices`, `local_layer_ids`, `moe_layers`,
  `per_layer_config`;
- counts from below, counted again: `first_k_dense_replace`, `num_dense_layers`, `max_window_layers`;
- rules by layer number, written out: `decoder_sparse_step`, `moe_layer_start_index` with `moe_layer_end_index` and
  `moe_layer_interval`, `block_types`, `attention_types`; `scale_depth` is a rule by depth;
- rules that a list overrides, left alone where the list is there: see `_OVERRIDDEN`;
- refused: see `_TIES`; `attn_layer_period` and `expert_layer_period` where the pattern would shift; `indexer_types`
  where a layer would lose the one whose indexer it shares.
What no field says (a layer that computes with its own number) is for `models.structure_check` to find.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from layerlimits.errors import UserError

_LISTS_OF_LAYERS = ("full_attn_idxs", "attn_layer_indices", "local_layer_ids", "moe_layers")
_COUNTS_FROM_BELOW = ("first_k_dense_replace", "num_dense_layers", "max_window_layers")
# Set, these make what a layer computes depend on other layers or on its own number.
_TIES = {
    "num_kv_shared_layers": "its last layers read the keys and values of earlier ones",
    "scale_attn_by_inverse_layer_idx": "every layer divides its attention by its own number",
    "rescale_every": "every layer divides its weights by a power of two of its own number",
    "hidden_size_per_layer_input": "its embeddings hold a part for every layer",
    "ple_layer_ids": "the embeddings of these layers lie outside the layers",
}
# A rule "every n-th layer", and the list with one entry a layer that holds instead of it.
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


def pruned_fields(config: Any, kept: tuple[int, ...]) -> dict[str, Any]:
    """The configuration fields that change when only the `kept` layers (ascending) stay.

    Fields with one entry a layer are indexed by the kept layers, whatever they are called. The depth comes first: some
    configurations check what is set after it against it.

    Raises:
        UserError: a field ties layers to each other or to their numbers; names it.
    """
    depth = config.num_hidden_layers
    fields = config.to_dict()
    _refuse(config, fields, kept)
    changed: dict[str, Any] = {"num_hidden_layers": len(kept)}
    if "num_blocks" in fields:  # xLSTM: a second name of the depth
        changed["num_blocks"] = len(kept)
    for name, value in fields.items():
        if name in _LISTS_OF_LAYERS and value is not None:
            changed[name] = _renumbered(value, kept)
        elif name in _COUNTS_FROM_BELOW and isinstance(value, int):
            changed[name] = _counted(value, kept)
        elif _has_an_entry_a_layer(config, name, value, depth):
            changed[name] = [value[layer] for layer in kept]
    for rule in _RULES:
        changed |= rule(config, fields, kept)
    return changed


def _renumbered(layers: Iterable[int], kept: tuple[int, ...]) -> list[int]:
    return [kept.index(layer) for layer in sorted(layers) if layer in kept]


def _counted(count: int, kept: tuple[int, ...]) -> int:
    """How many of the lowest `count` layers stay."""
    return sum(layer < count for layer in kept)


def _has_an_entry_a_layer(config: Any, name: str, value: Any, depth: int) -> bool:
    """A list as long as the model is deep, and not by accident.

    Lists of token ids may have any length. A list that has another length than the depth where the architecture
    decides both is not one entry a layer either: multipliers, limits, patterns that repeat.
    """
    if not isinstance(value, list | tuple) or len(value) != depth or "token" in name:
        return False
    usual: dict[str, Any] = _usual(type(config))  # type: ignore[arg-type]  # classes are hashable
    other = usual.get(name)
    return not isinstance(other, list | tuple) or len(other) == usual["num_hidden_layers"]


@lru_cache
def _usual(kind: type) -> dict[str, Any]:
    """The fields an architecture has when nothing is said, and its depth; empty where it needs to be told more."""
    try:
        config = kind()
        return {**config.to_dict(), "num_hidden_layers": config.num_hidden_layers}
    except Exception:  # Configurations refuse their own defaults with errors of many kinds.
        return {}


def _refuse(config: Any, fields: dict[str, Any], kept: tuple[int, ...]) -> None:
    for name, why in _TIES.items():
        if fields.get(name):
            raise UserError(
                f"{config.model_type} cannot lose layers: {why} ({name} = {fields[name]})",
                f"use a model without {name}",
            )
    for name, instead in _OVERRIDDEN.items():
        # By attribute: a configuration may know the list under another name.
        if fields.get(name) and getattr(config, instead, None) is None:
            raise UserError(
                f"{config.model_type} says with {name} = {fields[name]} what each layer is, by its number",
                f"write the list {instead}, with one entry a layer, into config.json",
            )
    frequency = fields.get("moe_layer_freq", 1)
    if isinstance(frequency, int) and frequency > 1 and not fields.get("mlp_layer_types"):
        raise UserError(
            f"{config.model_type} says with moe_layer_freq = {frequency} what each layer is, by its number",
            "write the list mlp_layer_types, with one entry a layer, into config.json",
        )
    _refuse_orphans(config, fields.get("indexer_types") or (), kept)
    if not fields.get("layers_block_type"):
        for names in _PERIODS:
            _refuse_shift(config, fields, names, kept)


def _refuse_orphans(config: Any, indexers: Sequence[str], kept: tuple[int, ...]) -> None:
    """GLM-5: a layer with a "shared" indexer attends to what the last layer with a "full" one picked."""
    source = None
    for layer, indexer in enumerate(indexers):
        source = layer if indexer == "full" else source
        if layer in kept and source is not None and source not in kept:
            raise UserError(
                f"{config.model_type} shares indexers between layers (indexer_types): layer {layer} attends to what "
                f"layer {source} picks, which would be removed",
                f"keep layer {source}, or remove layer {layer} too",
            )


def _refuse_shift(config: Any, fields: dict[str, Any], names: tuple[str, str], kept: tuple[int, ...]) -> None:
    """Refuse where a kept layer's new number would make it another kind of layer."""
    period, offset = (fields.get(name) for name in names)
    if period is None or offset is None:
        return
    for new, old in enumerate(kept):
        if (new % period == offset) != (old % period == offset):
            raise UserError(
                f"{config.model_type} says with {names[0]} = {period} and {names[1]} = {offset} what each layer is, by "
                f"its number: layer {old} would become layer {new}, which is of another kind",
                f"remove {period} layers in a row, or multiples of that",
            )


def _sparse_step(_: Any, fields: dict[str, Any], kept: tuple[int, ...]) -> dict[str, Any]:
    """Qwen MoE: layer l has experts if it is not in mlp_only_layers and (l + 1) % decoder_sparse_step is 0."""
    step, dense = fields.get("decoder_sparse_step"), fields.get("mlp_only_layers")
    if step is None:
        return {} if dense is None else {"mlp_only_layers": _renumbered(dense, kept)}
    without = [layer for layer in kept if layer in (dense or ()) or (layer + 1) % step]
    return {"mlp_only_layers": _renumbered(without, kept), "decoder_sparse_step": 1}


def _range_of_experts(config: Any, fields: dict[str, Any], kept: tuple[int, ...]) -> dict[str, Any]:
    """ERNIE 4.5: layer l has experts if start <= l <= end and (l + 1) % interval is 0."""
    names = ("moe_layer_start_index", "moe_layer_end_index", "moe_layer_interval")
    if any(fields.get(name) is None for name in names):
        return {}
    start, end, interval = (fields[name] for name in names)
    end = config.num_hidden_layers - 1 if end == -1 else end
    sparse = [new for new, old in enumerate(kept) if start <= old <= end and (old + 1) % interval == 0]
    if not sparse:
        return dict(zip(names, (len(kept), len(kept) - 1, 1), strict=True))
    if sparse != list(range(sparse[0], sparse[-1] + 1)):
        raise UserError(
            f"{config.model_type} says with {names[2]} = {interval} which layers have experts, by their numbers: the "
            f"kept layers with experts would be {', '.join(map(str, sparse))}, which has gaps",
            "remove other layers, so that the kept layers with experts follow each other",
        )
    return dict(zip(names, (sparse[0], sparse[-1], 1), strict=True))


def _repeated_pattern(_: Any, fields: dict[str, Any], kept: tuple[int, ...]) -> dict[str, Any]:
    """RecurrentGemma: block_types repeats until the model is deep enough."""
    pattern = fields.get("block_types")
    return {"block_types": [pattern[layer % len(pattern)] for layer in kept]} if pattern else {}


def _counted_pattern(_: Any, fields: dict[str, Any], kept: tuple[int, ...]) -> dict[str, Any]:
    """GPT-Neo: attention_types holds pairs of a pattern and how often it comes; attention_layers is made from it."""
    layers = fields.get("attention_layers")
    return {"attention_types": [[[layers[layer] for layer in kept], 1]]} if layers else {}


def _scale_by_depth(config: Any, fields: dict[str, Any], kept: tuple[int, ...]) -> dict[str, Any]:
    """MiniCPM: every layer's output counts scale_depth / sqrt(depth); the quotient is what must stay."""
    scale = fields.get("scale_depth")
    return {} if scale is None else {"scale_depth": scale * math.sqrt(len(kept) / config.num_hidden_layers)}


def _overrides(_: Any, fields: dict[str, Any], kept: tuple[int, ...]) -> dict[str, Any]:
    """Any architecture: per_layer_config maps layer numbers (as text) to fields that are different there."""
    other = {int(layer): values for layer, values in (fields.get("per_layer_config") or {}).items()}
    if not other:
        return {}
    return {"per_layer_config": {new: other[old] for new, old in enumerate(kept) if old in other}}


_RULES: tuple[Callable[[Any, dict[str, Any], tuple[int, ...]], dict[str, Any]], ...] = (
    _sparse_step,
    _range_of_experts,
    _repeated_pattern,
    _counted_pattern,
    _scale_by_depth,
    _overrides,
)
