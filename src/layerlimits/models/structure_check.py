"""Structure check of a removal: every kept layer, rebuilt from the pruned configuration, must be unchanged."""

import copy
import math
from collections.abc import Iterable
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.fields import pruned_fields
from layerlimits.models.remove import LAYER_NUMBERS, check_layers
from layerlimits.models.skeleton import skeleton, unbuildable
from layerlimits.models.stack import find_stack

_PLAIN = (int, float, bool, str, type(None), torch.dtype)


def check_structure(config: Any, removed: Iterable[int]) -> PreTrainedModel:
    """Check that every kept layer is unchanged in the model that stock transformers builds without the other layers.

    Builds both models without weights and compares classes, parameters, buffers and plain attributes of each layer.
    This catches configuration fields that `pruned_fields` does not handle, and layers that compute with their own
    number. It does not catch values that the forward pass reads from the configuration.

    Returns:
        The skeleton of the unpruned model.
    Raises:
        UserError: a layer would change (says where and how); or layers of this architecture cannot be removed.
    """
    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(
            f"{kind} is an encoder-decoder: its two stacks have no common layer numbering",
            "use a decoder-only language model",
        )
    if not isinstance(getattr(config, "num_hidden_layers", None), int):
        raise UserError(
            f"{kind} has no recognizable layer stack: its configuration has no num_hidden_layers",
            "use an architecture with a single list of layers, or report this one",
        )
    whole = skeleton(config)
    layers = find_stack(whole).layers
    gone = check_layers(removed, len(layers))
    kept_layers = tuple(layer for layer in range(len(layers)) if layer not in gone)
    _check_nothing_shared(kind, layers)
    pruned = _saved_and_loaded(config, kept_layers)
    small = skeleton(pruned)
    _check_depth(small, len(kept_layers))
    for new, (old, layer) in enumerate(zip(kept_layers, find_stack(small).layers, strict=True)):
        if difference := _difference(_modules(layers[old]), _modules(layer), _Allowed(kept_layers, len(layers))):
            raise _changed(kind, f"layer {old} would change when it becomes layer {new}: {difference}")
    around = _AllowedAround(kept_layers, len(layers), _kinds_lost(config, pruned))
    if difference := _difference(_around(whole), _around(small), around):
        raise _changed(kind, f"modules outside the layers would change: {difference}")
    if _can_count_tokens(config) and not _can_count_tokens(pruned):
        raise _changed(kind, "no attention layer would be left, and its cache needs one to count tokens")
    return whole


def _changed(kind: str, why: str) -> UserError:
    return UserError(f"cannot remove these layers of {kind}: {why}", "remove other layers, or report this architecture")


def _saved_and_loaded(config: Any, kept_layers: tuple[int, ...]) -> Any:
    """The pruned configuration, saved and loaded again: some fields are derived from others on loading."""
    pruned = copy.deepcopy(config)
    for name, value in pruned_fields(config, kept_layers).items():
        setattr(pruned, name, value)
    try:
        with TemporaryDirectory() as folder:
            pruned.save_pretrained(folder)
            loaded = type(config).from_pretrained(folder)
    except Exception as error:
        raise unbuildable(pruned, error) from None
    # Models store the path of their configuration.
    loaded.name_or_path = config.name_or_path
    return loaded


def _check_depth(model: PreTrainedModel, depth: int) -> None:
    built = len(find_stack(model))
    if built != depth:
        raise _changed(model.config.model_type, f"transformers builds {built} layers from a configuration with {depth}")


def _check_nothing_shared(kind: str, layers: nn.ModuleList) -> None:
    owner: dict[int, int] = {}
    for number, layer in enumerate(layers):
        for name, parameter in layer.named_parameters():
            first = owner.setdefault(id(parameter), number)
            if first != number:
                raise UserError(
                    f"{kind} shares weights between layers: {name} of layer {number} is also that of layer {first}",
                    "use a model whose layers do not share weights",
                )


def _modules(layer: nn.Module) -> dict[str, nn.Module]:
    return dict(layer.named_modules())


def _around(model: PreTrainedModel) -> dict[str, nn.Module]:
    """All modules outside the layers."""
    inside = {id(module) for module in find_stack(model).layers.modules()}
    return {path: module for path, module in model.named_modules() if id(module) not in inside}


def _kinds_lost(config: Any, pruned: Any) -> tuple[str, ...]:
    """Kinds of layers of which none is kept."""
    before, after = (set(getattr(source, "layer_types", None) or ()) for source in (config, pruned))
    return tuple(before - after)


def _can_count_tokens(config: Any) -> bool:
    """Whether the cache can count its tokens, which generation needs in models with attention and recurrent layers."""
    try:
        DynamicCache(config=config).get_seq_length()
    except Exception:  # ValueError, or an error about missing fields of configurations that have no cache.
        return False
    return True


class _Allowed:
    """The allowed differences in a layer: those of the numbering itself."""

    def __init__(self, kept_layers: tuple[int, ...], depth: int) -> None:
        self.kept_layers, self.depth = kept_layers, depth

    def absence(self, name: str) -> bool:
        """Whether this buffer or attribute may be missing."""
        return False

    def change(self, name: str, before: Any, after: Any) -> bool:
        """Allows the number of the layer, a list with one entry per layer, and rounding."""
        if isinstance(before, float) and isinstance(after, float):
            return math.isclose(before, after, rel_tol=1e-12) or (math.isnan(before) and math.isnan(after))
        indexed = isinstance(before, list) and len(before) == self.depth
        if indexed and after == [before[layer] for layer in self.kept_layers]:
            return True
        return name in LAYER_NUMBERS or bool(before == after)


class _AllowedAround(_Allowed):
    """The allowed differences outside the layers: the number of layers, and modules for kinds of layers not kept."""

    def __init__(self, kept_layers: tuple[int, ...], depth: int, lost: tuple[str, ...]) -> None:
        super().__init__(kept_layers, depth)
        self.lost = lost

    def absence(self, name: str) -> bool:
        """Allows missing buffers of rotary embeddings for a kind of layer, which are named after the kind."""
        return name.startswith(self.lost)

    def change(self, name: str, before: Any, after: Any) -> bool:
        """Allows the number of layers, the list of their kinds, and flags for a kind (`has_sliding_layers`)."""
        if isinstance(before, list) and after == [kind for kind in before if kind not in self.lost]:
            return True
        switched_off = bool(self.lost) and name.startswith("has_") and after is False
        recounted = (before, after) == (self.depth, len(self.kept_layers))
        return switched_off or recounted or super().change(name, before, after)


def _difference(before: dict[str, nn.Module], after: dict[str, nn.Module], allowed: _Allowed) -> str | None:
    """Description of the first difference between two sets of modules; None if they are equal."""
    if odd := sorted(before.keys() ^ after.keys()):
        return f"{', '.join(odd[:3])} would be {'missing' if odd[0] in before else 'new'}"
    for path, module in before.items():
        if difference := _difference_of_one(module, after[path], allowed):
            return f"{path}.{difference}".removeprefix(".")
    return None


def _difference_of_one(before: nn.Module, after: nn.Module, allowed: _Allowed) -> str | None:
    if type(before) is not type(after):
        return f"__class__ is {type(after).__name__}, not {type(before).__name__}"
    for own, other in ((before._parameters, after._parameters), (before._buffers, after._buffers)):
        if odd := sorted(name for name in own.keys() ^ other.keys() if not allowed.absence(name)):
            return f"{odd[0]} would be {'missing' if odd[0] in own else 'new'}"
        for name in own.keys() & other.keys():
            if not _same(own[name], other[name]):
                return f"{name} would have another shape or other values"
    old, new = _plain(before), _plain(after)
    for name in sorted(old.keys() | new.keys()):
        if not allowed.absence(name) and not allowed.change(name, old.get(name), new.get(name)):
            return f"{name} is {new.get(name)!r}, not {old.get(name)!r}"
    return None


def _same(tensor: Tensor | None, other: Tensor | None) -> bool:
    if tensor is None or other is None:
        return tensor is other
    if tensor.shape != other.shape or tensor.dtype != other.dtype or tensor.is_meta != other.is_meta:
        return False
    return tensor.is_meta or torch.equal(tensor, other)


def _plain(module: nn.Module) -> dict[str, Any]:
    # A tuple is saved and loaded as a list.
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(module).items()
        if _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(entry) for entry in value)
    return isinstance(value, _PLAIN)
