"""Decoding speed and memory of pruned models, timed interleaved, so that noise affects all models equally."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers import GenerationConfig, PreTrainedModel, StoppingCriteria, StoppingCriteriaList

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
        tokens_per_s: Decoding speed of all prompts together, one value per repeat.
        first_token_s: Time until the first token of all prompts, one value per repeat.
        prompts, prompt_tokens, new_tokens: Number and length of the prompts, which are read at once, and the number of
            tokens generated for each.
    """

    removed: tuple[int, ...]
    parameters: int
    weight_bytes: int
    memory_bytes: int
    tokens_per_s: tuple[float, ...]
    first_token_s: tuple[float, ...]
    prompts: int
    prompt_tokens: int
    new_tokens: int


class _FirstToken(StoppingCriteria):
    """The moment at which the first token of all prompts is known; never stops."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self.moment: float | None = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: Any) -> torch.BoolTensor:
        if self.moment is None:
            _wait(self._model)
            self.moment = time.perf_counter()
        return cast(torch.BoolTensor, torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device))


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
    facts = [_facts(*pair, ids) for pair, ids in zip(models, prompts, strict=True)]
    rounds = [[_timed(*pair, ids) for pair, ids in zip(models, prompts, strict=True)] for _ in range(repeats)]
    measured = []
    for number, (_, removed) in enumerate(models):
        rates, firsts = zip(*(timed[number] for timed in rounds), strict=True)
        shape = (_PROMPTS, prompts[number].shape[1], _NEW_TOKENS)
        measured.append(Timing(removed, *facts[number], rates, firsts, *shape))
    return measured


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


def _generate(model: Any, prompts: torch.Tensor, criteria: Sequence[StoppingCriteria] = ()) -> Any:
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=_NEW_TOKENS,
        min_new_tokens=_NEW_TOKENS,
        pad_token_id=0,
        return_dict_in_generate=True,
    )
    with own_settings_only(model):
        return model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            generation_config=settings,
            stopping_criteria=StoppingCriteriaList(criteria),
        )


def _timed(model: PreTrainedModel, removed: tuple[int, ...], prompts: torch.Tensor) -> tuple[float, float]:
    """Tokens per second, and seconds until the first token."""
    with without_layers(model, removed):
        first = _FirstToken(model)
        _wait(model)
        began = time.perf_counter()
        _generate(model, prompts, [first])
        _wait(model)
        ended = time.perf_counter()
        return _PROMPTS * _NEW_TOKENS / (ended - began), (first.moment or ended) - began


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
