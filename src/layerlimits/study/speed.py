"""What pruning buys: tokens a second and memory, models interleaved so that a noisy machine is noisy for all."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.generation import own_settings_only
from layerlimits.models.load import parameter_count, weight_bytes
from layerlimits.models.remove import without_layers

_PROMPTS = 16
_PROMPT_TOKENS = 64
_NEW_TOKENS = 48


@dataclass(frozen=True)
class Timing:
    """A variant's speed: one figure a repeat; `memory_bytes` is weights and key-value cache, or a GPU's peak."""

    removed: tuple[int, ...]
    parameters: int
    weight_bytes: int
    memory_bytes: int
    tokens_per_s: tuple[float, ...]


def timings(model: PreTrainedModel, variants: Sequence[tuple[int, ...]], repeats: int) -> list[Timing]:
    """Decoding speed of each variant (removed layers) on the same prompts, greedy, without stopping early.

    Every repeat times all variants one after the other. 16 prompts of 64 tokens, 48 new tokens each; shorter prompts
    where the model has no positions for so many tokens.

    Raises:
        UserError: the model has no positions for the new tokens alone.
    """
    width = _prompt_tokens(model)
    probe = torch.arange(_PROMPTS * width, device=model.device) % (model.config.vocab_size - 5) + 5
    prompts = probe.view(_PROMPTS, width)
    facts = [_facts(model, removed, prompts) for removed in variants]
    rates = [[_rate(model, removed, prompts) for removed in variants] for _ in range(repeats)]
    return [
        Timing(removed, *facts[number], tuple(repeat[number] for repeat in rates))
        for number, removed in enumerate(variants)
    ]


def _prompt_tokens(model: PreTrainedModel) -> int:
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    width = _PROMPT_TOKENS if positions is None else min(_PROMPT_TOKENS, positions - _NEW_TOKENS)
    if width < 1:
        raise UserError(
            f"timing takes {_NEW_TOKENS + 1} tokens or more, and the model has {positions} positions",
            "time another model",
        )
    return width


def _generate(model: Any, prompts: torch.Tensor) -> Any:
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=_NEW_TOKENS,
        min_new_tokens=_NEW_TOKENS,
        pad_token_id=0,
        return_dict_in_generate=True,
    )
    with own_settings_only(model):
        return model.generate(prompts, attention_mask=torch.ones_like(prompts), generation_config=settings)


def _rate(model: PreTrainedModel, removed: tuple[int, ...], prompts: torch.Tensor) -> float:
    with without_layers(model, removed):
        _wait(model)
        began = time.perf_counter()
        _generate(model, prompts)
        _wait(model)
        return _PROMPTS * _NEW_TOKENS / (time.perf_counter() - began)


def _wait(model: PreTrainedModel) -> None:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)


def _facts(model: PreTrainedModel, removed: tuple[int, ...], prompts: torch.Tensor) -> tuple[int, int, int]:
    """Parameters, weight bytes and memory of a variant; warms it up as well."""
    with without_layers(model, removed):
        if model.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(model.device)
        written = _generate(model, prompts)
        weights = weight_bytes(model)
        if model.device.type == "cuda":
            memory = torch.cuda.max_memory_allocated(model.device)
        else:
            memory = weights + _cache_bytes(written.past_key_values)
        return parameter_count(model), weights, memory


def _cache_bytes(cache: Any) -> int:
    """Bytes of the keys and values of a transformers cache; layers of other kinds count with the tensors they hold."""
    tensors = [tensor for layer in cache.layers for tensor in vars(layer).values() if isinstance(tensor, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
