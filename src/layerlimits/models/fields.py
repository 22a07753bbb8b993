"""Configuration fields that change when layers go: those with one entry a layer, and those that name layers."""

from typing import Any

from layerlimits.errors import UserError

# Configuration fields that list layer numbers, and fields that count layers from the bottom.
_LISTS_OF_LAYERS = ("mlp_only_layers", "full_attn_idxs", "global_attn_every_n_layers_idx")
_COUNTS_FROM_BELOW = ("first_k_dense_replace", "max_window_layers")
# Fields that tie layers to each other; with them set, removing a layer changes what others compute.
_TIES = ("num_kv_shared_layers",)


def pruned_fields(config: Any, kept: tuple[int, ...]) -> dict[str, Any]:
    """The configuration fields that change when only the `kept` layers (ascending) stay.

    Fields with one entry a layer are indexed by the kept layers, whatever they are called.

    Raises:
        UserError: the configuration ties layers to each other.
    """
    depth = config.num_hidden_layers
    for name in _TIES:
        if getattr(config, name, 0):
            raise UserError(
                f"{config.model_type} shares key-value layers ({name} = {getattr(config, name)})",
                "use a model whose layers do not depend on each other's cache",
            )
    changed: dict[str, Any] = {"num_hidden_layers": len(kept)}
    for name, value in config.to_dict().items():
        if name in _LISTS_OF_LAYERS and value:
            changed[name] = [kept.index(layer) for layer in value if layer in kept]
        elif name in _COUNTS_FROM_BELOW and isinstance(value, int):
            changed[name] = sum(layer < value for layer in kept)
        elif isinstance(value, list) and len(value) == depth:
            changed[name] = [value[layer] for layer in kept]
    return changed
