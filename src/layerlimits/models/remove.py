"""Removing layers, temporarily (`without_layers`) or permanently (`remove`), by the same operation."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.fields import pruned_fields
from layerlimits.models.stack import LayerStack, find_stack

# Layers that an error names, at most; a range can have many that do not exist.
_NAMED = 20

# Names of the attribute in which modules store the number of their layer.
LAYER_NUMBERS = ("layer_idx", "layer_id", "layer_number")


def check_listed(layers: Iterable[int], depth: int) -> tuple[int, ...]:
    """Check layers that are given by their numbers, and return them ascending.

    Raises:
        UserError: a layer does not exist or is listed twice.
    """
    given = list(layers)
    unknown = sorted({layer for layer in given if not 0 <= layer < depth})
    if unknown:
        names = ", ".join(map(str, unknown[:_NAMED])) + (", ..." if len(unknown) > _NAMED else "")
        raise UserError(
            f"layer {names} does not exist: the model has {depth} layers", f"use numbers from 0 to {depth - 1}"
        )
    repeated = sorted({layer for layer in given if given.count(layer) > 1})
    if repeated:
        raise UserError(f"layer {', '.join(map(str, repeated))} is listed more than once", "list each layer once")
    return tuple(sorted(given))


def check_layers(removed: Iterable[int], depth: int, protected: Iterable[int] = ()) -> tuple[int, ...]:
    """Check the layers to remove, and return them ascending.

    Raises:
        UserError: a layer does not exist, is listed twice or is protected; or no layer would be left.
    """
    given = check_listed(removed, depth)
    kept_back = sorted(set(given) & set(protected))
    if kept_back:
        raise UserError(f"layer {', '.join(map(str, kept_back))} is protected", "omit it, or do not protect it")
    check_count(len(given), depth, ())
    return given


def check_count(count: int, depth: int, protected: Iterable[int]) -> None:
    """Check the number of layers to remove.

    Raises:
        UserError: it is zero, or more than the unprotected layers, or all layers; gives the numbers.
    """
    protected = sorted(set(protected) & set(range(depth)))
    maximum = min(depth - 1, depth - len(protected))
    if count < 1:
        raise UserError(f"cannot remove {count} layers", f"set layers to 1 to {maximum}")
    if count > maximum:
        listed = ", ".join(map(str, protected))
        verb = "is" if len(protected) == 1 else "are"
        reserved = f", and {len(protected)} {verb} protected ({listed})" if protected else ""
        raise UserError(
            f"cannot remove {count} layers: the model has {depth}{reserved}",
            f"set layers to at most {maximum}" + (", or protect fewer layers" if protected else ""),
        )


def check_protected(protected: Iterable[int], depth: int) -> None:
    """Check that all protected layers exist.

    Raises:
        UserError: a layer does not exist; gives the numbers.
    """
    unknown = [layer for layer in protected if not 0 <= layer < depth]
    if unknown:
        names = ", ".join(map(str, unknown))
        raise UserError(
            f"protected layer {names} does not exist: the model has {depth} layers",
            f"use numbers from 0 to {depth - 1}",
        )


def layers_for_ratio(ratio: float, depth: int) -> int:
    """round(ratio x depth), at least 1.

    Raises:
        UserError: the ratio is not between 0 and 1 (both excluded).
    """
    if not 0 < ratio < 1:
        raise UserError(f"ratio {ratio:g} is not between 0 and 1", "set the fraction of layers to remove, such as 0.25")
    return max(1, round(ratio * depth))


def _apply(model: PreTrainedModel, stack: LayerStack, kept_layers: tuple[int, ...]) -> None:
    for name, value in pruned_fields(model.config, kept_layers).items():
        setattr(model.config, name, value)
    setattr(stack.owner, stack.name, nn.ModuleList(stack.layers[layer] for layer in kept_layers))
    _renumber(stack.layers, range(len(kept_layers)))


def _renumber(layers: nn.ModuleList, numbers: Iterable[int]) -> None:
    """Renumber the layers: their numbers index the key-value cache, and gaps break cached generation."""
    for layer, number in zip(layers, numbers, strict=True):
        for module in layer.modules():
            own = vars(module)
            for name in LAYER_NUMBERS:
                if isinstance(own.get(name), int):
                    own[name] = number


def remove(model: PreTrainedModel, removed: Iterable[int]) -> None:
    """Remove layers from the model permanently, in place; the numbers are those before the removal."""
    stack = find_stack(model)
    gone = check_layers(removed, len(stack))
    _apply(model, stack, tuple(layer for layer in range(len(stack)) if layer not in gone))


@contextmanager
def without_layers(model: PreTrainedModel, removed: Iterable[int]) -> Iterator[PreTrainedModel]:
    """Inside the block, the model is without these layers; afterwards it is as before. No weights are copied."""
    removed = tuple(removed)
    if not removed:
        yield model
        return
    stack = find_stack(model)
    gone = check_layers(removed, len(stack))
    whole = stack.layers
    # Not field by field: some fields differ when read from how they are set (`per_layer_config`).
    before = dict(vars(model.config))
    try:
        _apply(model, stack, tuple(layer for layer in range(len(whole)) if layer not in gone))
        yield model
    finally:
        setattr(stack.owner, stack.name, whole)
        _renumber(whole, range(len(whole)))
        vars(model.config).clear()
        vars(model.config).update(before)


@torch.no_grad()
def assert_removal_changes_logits(model: PreTrainedModel, removed: Iterable[int]) -> None:
    """Check that removing these layers changes the logits; otherwise nothing was removed.

    Raises:
        UserError: the logits of the pruned model equal those of the base.
    """
    removed = tuple(removed)
    probe = torch.arange(1, 17, device=model.device).remainder(model.config.vocab_size)[None]
    base = model(input_ids=probe, use_cache=False).logits
    with without_layers(model, removed):
        pruned = model(input_ids=probe, use_cache=False).logits
    if torch.equal(base, pruned):
        layers = f"layer{'s' * (len(removed) > 1)} {', '.join(map(str, removed))}"
        raise UserError(
            f"removing {layers} does not change any logit, so nothing was removed",
            "report this architecture: its layers are elsewhere, or they have no effect",
        )
