"""Whether a removal is sound: every kept layer, rebuilt from the pruned configuration, must be what it was."""

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
    """Stop unless every kept layer stays what it is in the model that stock transformers builds without the others.

    Builds both models without their weights and compares, layer by layer, classes, parameters, buffers and plain
    attributes. A field of the configuration that `pruned_fields` does not know, and a layer that computes with its own
    number, show here; what a forward pass reads from the configuration does not.

    Returns:
        The unpruned model's skeleton.
    Raises:
        UserError: what would change, and where; or the architecture cannot lose layers at all.
    """
    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(
            f"{kind} is an encoder-decoder: its two stacks have no common layer numbering",
            "give a decoder-only language model",
        )
    if not isinstance(getattr(config, "num_hidden_layers", None), int):
        raise UserError(
            f"{kind} has no recognisable layer stack: its configuration gives no num_hidden_layers",
            "use an architecture whose layers are one list, or report this one",
        )
    whole = skeleton(config)
    layers = find_stack(whole).layers
    gone = check_layers(removed, len(layers))
    kept = tuple(layer for layer in range(len(layers)) if layer not in gone)
    _check_nothing_shared(kind, layers)
    pruned = _saved_and_loaded(config, kept)
    small = skeleton(pruned)
    _check_depth(small, len(kept))
    for new, (old, layer) in enumerate(zip(kept, find_stack(small).layers, strict=True)):
        if found := _difference(_modules(layers[old]), _modules(layer), _Allowed(kept, len(layers))):
            raise _unsound(kind, f"layer {old} would become another as layer {new}: {found}")
    around = _AllowedAround(kept, len(layers), _kinds_lost(config, pruned))
    if found := _difference(_around(whole), _around(small), around):
        raise _unsound(kind, f"what surrounds the layers would become another: {found}")
    if _can_count_tokens(config) and not _can_count_tokens(pruned):
        raise _unsound(kind, "no attention layer would be left, and its cache counts tokens by one")
    return whole


def _unsound(kind: str, why: str) -> UserError:
    return UserError(f"{kind} cannot lose these layers: {why}", "remove other layers, or report this architecture")


def _saved_and_loaded(config: Any, kept: tuple[int, ...]) -> Any:
    """The pruned configuration as stock transformers reads it: on loading, some fields are derived from others."""
    pruned = copy.deepcopy(config)
    for name, value in pruned_fields(config, kept).items():
        setattr(pruned, name, value)
    try:
        with TemporaryDirectory() as folder:
            pruned.save_pretrained(folder)
            loaded = type(config).from_pretrained(folder)
    except Exception as error:
        raise unbuildable(pruned, error) from None
    # Models remember where their configuration came from.
    loaded.name_or_path = config.name_or_path
    return loaded


def _check_depth(model: PreTrainedModel, depth: int) -> None:
    found = len(find_stack(model))
    if found != depth:
        raise _unsound(model.config.model_type, f"transformers builds {found} layers from a configuration for {depth}")


def _check_nothing_shared(kind: str, layers: nn.ModuleList) -> None:
    owner: dict[int, int] = {}
    for number, layer in enumerate(layers):
        for name, parameter in layer.named_parameters():
            first = owner.setdefault(id(parameter), number)
            if first != number:
                raise UserError(
                    f"{kind} shares weights between layers: {name} of layer {number} is that of layer {first}",
                    "use a model whose layers have weights of their own",
                )


def _modules(layer: nn.Module) -> dict[str, nn.Module]:
    return dict(layer.named_modules())


def _around(model: PreTrainedModel) -> dict[str, nn.Module]:
    """All modules that are not in the layers."""
    inside = {id(module) for module in find_stack(model).layers.modules()}
    return {path: module for path, module in model.named_modules() if id(module) not in inside}


def _kinds_lost(config: Any, pruned: Any) -> tuple[str, ...]:
    """Kinds of layers of which none is left."""
    before, after = (set(getattr(given, "layer_types", None) or ()) for given in (config, pruned))
    return tuple(before - after)


def _can_count_tokens(config: Any) -> bool:
    """Models that mix attention with recurrent layers ask the cache how many tokens it holds; generation needs it."""
    try:
        DynamicCache(config=config).get_seq_length()
    except Exception:  # ValueError, or whatever a configuration lacks that no cache was made for.
        return False
    return True


class _Allowed:
    """What may differ in a layer, for it is the numbering itself."""

    def __init__(self, kept: tuple[int, ...], depth: int) -> None:
        self.kept, self.depth = kept, depth

    def absence(self, name: str) -> bool:
        """Whether this buffer or attribute may be missing."""
        return False

    def change(self, name: str, before: Any, after: Any) -> bool:
        """The layer's own number, a list with one entry a layer, and what rounding does."""
        if isinstance(before, float) and isinstance(after, float):
            return math.isclose(before, after, rel_tol=1e-12) or (math.isnan(before) and math.isnan(after))
        if isinstance(before, list) and len(before) == self.depth and after == [before[layer] for layer in self.kept]:
            return True
        return name in LAYER_NUMBERS or bool(before == after)


class _AllowedAround(_Allowed):
    """What may differ around the layers: how many there are, and what only served kinds of layers that are gone."""

    def __init__(self, kept: tuple[int, ...], depth: int, lost: tuple[str, ...]) -> None:
        super().__init__(kept, depth)
        self.lost = lost

    def absence(self, name: str) -> bool:
        """Rotary embeddings have buffers for every kind of layer, named after it."""
        return name.startswith(self.lost)

    def change(self, name: str, before: Any, after: Any) -> bool:
        """The number of layers; the list of their kinds; whether there are any of a kind (`has_sliding_layers`)."""
        if isinstance(before, list) and after == [kind for kind in before if kind not in self.lost]:
            return True
        switched_off = bool(self.lost) and name.startswith("has_") and after is False
        return switched_off or (before, after) == (self.depth, len(self.kept)) or super().change(name, before, after)


def _difference(before: dict[str, nn.Module], after: dict[str, nn.Module], allowed: _Allowed) -> str | None:
    """The first thing in which two sets of modules differ, in words; None if they are alike."""
    if odd := sorted(before.keys() ^ after.keys()):
        return f"it {'loses' if odd[0] in before else 'gets'} {', '.join(odd[:3])}"
    for path, module in before.items():
        if found := _difference_of_one(module, after[path], allowed):
            return f"{path}.{found}".removeprefix(".")
    return None


def _difference_of_one(before: nn.Module, after: nn.Module, allowed: _Allowed) -> str | None:
    if type(before) is not type(after):
        return f"__class__ is {type(after).__name__}, not {type(before).__name__}"
    for one, other in ((before._parameters, after._parameters), (before._buffers, after._buffers)):
        if odd := sorted(name for name in one.keys() ^ other.keys() if not allowed.absence(name)):
            return f"{odd[0]} {'goes' if odd[0] in one else 'comes'}"
        for name in one.keys() & other.keys():
            if not _same(one[name], other[name]):
                return f"{name} has another shape or other values"
    old, new = _plain(before), _plain(after)
    for name in sorted(old.keys() | new.keys()):
        if not allowed.absence(name) and not allowed.change(name, old.get(name), new.get(name)):
            return f"{name} is {new.get(name)!r}, not {old.get(name)!r}"
    return None


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.shape != other.shape or one.dtype != other.dtype or one.is_meta != other.is_meta:
        return False
    return one.is_meta or torch.equal(one, other)


def _plain(module: nn.Module) -> dict[str, Any]:
    # A tuple comes back from a file as a list.
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(module).items()
        if _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(entry) for entry in value)
    return isinstance(value, _PLAIN)
