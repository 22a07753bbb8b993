"""Decoding speed and memory of pruned models, timed interleaved, so that noise affects all models equally."""

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
# Tokens that one timed run generates.
RESPONSE_TOKENS = _PROMPTS * _NEW_TOKENS


@dataclass(frozen=True)
class Timing:
    """Speed and memory of a variant.

    Args:
        removed: Removed layers.
        parameters: Number of parameters.
        weight_bytes: Size of the weights, in bytes.
        memory_bytes: Peak memory on a GPU; weights plus key-value cache on a CPU.
        tokens_per_s: Decoding speed, one value per repeat.
    """

    removed: tuple[int, ...]
    parameters: int
    weight_bytes: int
    memory_bytes: int
    tokens_per_s: tuple[float, ...]


def timings(model: PreTrainedModel, variants: Sequence[tuple[int, ...]], repeats: int) -> list[Timing]:
    """Time greedy decoding of each variant on the same prompts, without early stopping.

    Every repeat times all variants once. Each run decodes 48 new tokens for 16 prompts of 64 tokens, or shorter
    prompts if the model has fewer than 112 positions.

    Args:
        model: The unpruned model.
        variants: Removed layers of each variant.
        repeats: Number of repeats.
    Raises:
        UserError: The model has too few positions for the new tokens.
    """
    return interleaved([(model, removed) for removed in variants], repeats)


def interleaved(models: Sequence[tuple[PreTrainedModel, tuple[int, ...]]], repeats: int) -> list[Timing]:
    """As `timings`, for several models: each with the layers that are removed from it."""
    prompts = [_prompts(model) for model, _ in models]
    facts = [_facts(*pair, probe) for pair, probe in zip(models, prompts, strict=True)]
    rates = [[_rate(*pair, probe) for pair, probe in zip(models, prompts, strict=True)] for _ in range(repeats)]
    return [
        Timing(removed, *facts[number], tuple(repeat[number] for repeat in rates))
        for number, (_, removed) in enumerate(models)
    ]


def _prompts(model: PreTrainedModel) -> torch.Tensor:
    width = _prompt_tokens(model)
    vocabulary: int = model.config.get_text_config().vocab_size
    ids = torch.arange(_PROMPTS * width, device=model.device) % (vocabulary - 5) + 5
    return ids.view(_PROMPTS, width)


def _prompt_tokens(model: PreTrainedModel) -> int:
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    width = _PROMPT_TOKENS if positions is None else min(_PROMPT_TOKENS, positions - _NEW_TOKENS)
    if width < 1:
        raise UserError(
            f"timing requires at least {_NEW_TOKENS + 1} positions, and the model has {positions}",
            "use a model with a longer context",
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
    """Parameters, weight bytes and memory of a variant; also serves as a warm-up run."""
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
    """Bytes of all tensors in a transformers cache, including states of layers without keys and values."""
    tensors = [tensor for layer in cache.layers for tensor in vars(layer).values() if isinstance(tensor, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
