"""Shared by the benchmarks of the sweep engine: models, prompts, and the straightforward way to answer them."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from layerlimits.engines.transformers import TransformersEngine
from layerlimits.evaluation.prompts import encode
from layerlimits.models.load import load
from layerlimits.models.remove import without_layers
from layerlimits.tasks import choose
from layerlimits.types import Response

NEW_TOKENS = 64
LENGTHS = (20, 120)
BATCHES = (8, 16, 25, 50, 100)
# Layers, width, MLP width, heads, vocabulary. Layer outputs are scaled down so that most variants agree with the base
# on about half of their tokens, as in trained models.
RANDOM = {"random-100M": (16, 704, 1920, 11, 8192), "random-500M": (24, 1280, 3456, 20, 8192)}
SCALE = 0.001
Answers = list[list[Response]]


class Ids:
    """A tokenizer for random models: the text of a token is its number."""

    pad_token_id, eos_token_id, bos_token_id = 0, None, None

    def decode(self, tokens: Sequence[int], **_: Any) -> str:
        """The token numbers as text."""
        return " ".join(map(str, tokens))


def random_model(layers: int, width: int, inner: int, heads: int, vocabulary: int) -> Any:
    """A random Llama with small layer outputs."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        vocab_size=vocabulary,
        eos_token_id=None,
    )
    model = LlamaForCausalLM(config).eval()
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.data.mul_(SCALE / 0.02 / width**0.5)
        layer.mlp.down_proj.weight.data.mul_(SCALE / 0.02 / inner**0.5)
    model.generation_config.eos_token_id = None
    return model


def random_prompts(vocabulary: int, count: int) -> list[list[int]]:
    """Random token ids with lengths spaced evenly over `LENGTHS`."""
    draw = torch.Generator().manual_seed(1)
    lengths = torch.linspace(*LENGTHS, count).long().tolist()
    return [torch.randint(5, vocabulary, (length,), generator=draw).tolist() for length in lengths]


def real_prompts(tokenizer: Any, count: int) -> list[list[int]]:
    """Prompts from the bundled tasks' select items with lengths in `LENGTHS`, alternating between tasks."""
    tasks = choose(["arithmetic", "word_problems", "functions", "summaries", "facts"])
    columns = [[encode(tokenizer, sample).ids for sample in task.samples("select", 200, None)] for task in tasks]
    fitting = [[ids for ids in column if LENGTHS[0] <= len(ids) <= LENGTHS[1]] for column in columns]
    rounds = [column[number] for number in range(200) for column in fitting if number < len(column)]
    return rounds[:count]


def shortest(job: Callable[[], Any], times: int) -> float:
    """The minimum time of several runs, in seconds."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def workload(name: str, count: int) -> tuple[Any, Any, list[list[int]]]:
    """Model, tokenizer and prompts."""
    if name == "reference":
        loaded = load("reference", device="cpu")
        return loaded.model, loaded.tokenizer, real_prompts(loaded.tokenizer, count)
    model = random_model(*RANDOM[name])
    return model, Ids(), random_prompts(model.config.vocab_size, count)


def batched(
    engine: TransformersEngine, prompts: Sequence[list[int]], size: int, new_tokens: int = NEW_TOKENS
) -> list[Response]:
    """Stock generation in batches of prompts with similar length."""
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    responses: dict[int, Response] = {}
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        responses |= zip(chosen, engine.generate_batch([prompts[row] for row in chosen], new_tokens), strict=True)
    return [responses[row] for row in range(len(prompts))]


def one_by_one(
    model: Any,
    tokenizer: Any,
    variants: Sequence[tuple[int, ...]],
    prompts: Any,
    size: int,
    new_tokens: int = NEW_TOKENS,
) -> Answers:
    """The straightforward way: skip each variant's layers in memory and use stock generation."""
    engine, answers = TransformersEngine(model, tokenizer), []
    for variant in variants:
        with without_layers(model, variant):
            answers.append(batched(engine, prompts, size, new_tokens))
    return answers


def best_batch(model: Any, tokenizer: Any, prompts: Sequence[list[int]], new_tokens: int = NEW_TOKENS) -> int:
    """The fastest batch size for stock generation."""
    sizes = {min(size, len(prompts)) for size in BATCHES}
    return min(
        sizes, key=lambda size: shortest(lambda: one_by_one(model, tokenizer, [(1,)], prompts, size, new_tokens), 1)
    )
