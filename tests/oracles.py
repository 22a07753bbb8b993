"""The obvious way of doing it, slowly: modules deleted from a copy, one text at a time, no padding, float64."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# Where small test models keep their layers and their final norm.
PLACES = {
    "LlamaForCausalLM": ("model", "layers", "norm"),
    "MixtralForCausalLM": ("model", "layers", "norm"),
    "GPT2LMHeadModel": ("transformer", "h", "ln_f"),
}


def double(model: Any) -> Any:
    """A float64 copy; grouped expert products do not support float64, plain loops do."""
    network = copy.deepcopy(model).double().eval()
    network.set_experts_implementation("eager")
    return network


def deleted(model: Any, gone: Iterable[int]) -> Any:
    """A float64 copy without the layers; without a cache, layer numbers do not matter."""
    network = double(model)
    body, stack, _ = PLACES[type(model).__name__]
    layers = getattr(getattr(network, body), stack)
    remaining = [layer for number, layer in enumerate(layers) if number not in set(gone)]
    setattr(getattr(network, body), stack, nn.ModuleList(remaining))
    return network


def loss(network: Any, texts: Sequence[Sequence[int]], starts: Sequence[int] | None = None) -> float:
    """Mean negative log-likelihood of each text's tokens from its start position."""
    total, tokens = 0.0, 0
    for ids, start in zip(texts, starts or [1] * len(texts), strict=True):
        with torch.no_grad():
            likely = network(torch.tensor([list(ids)]), use_cache=False).logits[0].log_softmax(-1)
        for place in range(start, len(ids)):
            total -= likely[place - 1, ids[place]].item()
            tokens += 1
    return total / tokens


def streams(model: Any, texts: Sequence[Sequence[int]]) -> list[list[Tensor]]:
    """h_0 .. h_L of each text, each (T, D): the output of a copy with only the first l layers and no final norm."""
    body, stack, norm = PLACES[type(model).__name__]
    all_streams: list[list[Tensor]] = [[] for _ in texts]
    for count in range(model.config.num_hidden_layers + 1):
        network = double(model)
        inner = getattr(network, body)
        setattr(inner, stack, getattr(inner, stack)[:count])
        setattr(inner, norm, nn.Identity())
        for ids, streams_of_text in zip(texts, all_streams, strict=True):
            with torch.no_grad():
                streams_of_text.append(inner(torch.tensor([list(ids)]), use_cache=False).last_hidden_state[0])
    return all_streams


def cosine(first: Tensor, second: Tensor) -> float:
    """Cosine of two vectors."""
    return float(first @ second / first.norm() / second.norm())
