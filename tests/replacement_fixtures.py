"""Models and texts for tests of replacements, and a slow reference implementation of residual streams."""

from typing import Any

import torch
from architectures import tiny_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from layerlimits.models.stack import find_stack

PROBE = torch.arange(3, 30)[None]

_draw = torch.Generator().manual_seed(1)
TEXTS = tuple(tuple(torch.randint(3, 96, (length,), generator=_draw).tolist()) for length in (40, 11, 33, 25, 36))


def busy(name: str, **fields: Any) -> PreTrainedModel:
    """A tiny model with random biases and norms, since errors in them would not show at their initial values."""
    model = tiny_model(name, **fields)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape, generator=draw), alpha=0.3)
    return model


def layers(model: PreTrainedModel) -> nn.ModuleList:
    return find_stack(model).layers


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().double().clone() for name, parameter in module.named_parameters()}


def logits(model: PreTrainedModel) -> Tensor:
    with torch.no_grad():
        output: Tensor = model(input_ids=PROBE).logits
    return output


def streams(model: PreTrainedModel) -> list[Tensor]:
    """The input of each of the L layers and the output of the last, one text at a time: L + 1 times (tokens, D)."""
    seen: list[list[Tensor]] = [[] for _ in range(len(layers(model)) + 1)]

    def leave(place: int) -> Any:
        return lambda _, __, out: seen[place].append((out if isinstance(out, Tensor) else out[0])[0].double())

    handles = [
        layer.register_forward_pre_hook(
            lambda _, given, named, place=place: seen[place].append(
                (given[0] if given else named["hidden_states"])[0].double()
            ),
            with_kwargs=True,
        )
        for place, layer in enumerate(layers(model))
    ]
    handles.append(layers(model)[-1].register_forward_hook(leave(len(layers(model)))))
    with torch.no_grad():
        for text in TEXTS:
            model(input_ids=torch.tensor([text]))
    for handle in handles:
        handle.remove()
    return [torch.cat(parts) for parts in seen]


def changed_layers(before: PreTrainedModel, after: PreTrainedModel) -> set[int]:
    return {
        number
        for number, (first, second) in enumerate(zip(layers(before), layers(after), strict=True))
        if any(not torch.equal(first.get_parameter(name), weight) for name, weight in second.named_parameters())
    }
