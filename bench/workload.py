"""What the benchmarks of the sweep engine share: models, prompts, and the simple way to answer them."""

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
BATCHES = (8, 25, 50, 100)
# Layers, width, inner width, heads, vocabulary. What layers add to the stream is scaled down so that most variants
# agree with the base for about half their tokens, as trained models' do.
RANDOM = {"random-100M": (16, 704, 1920, 11, 8192), "random-500M": (24, 1280, 3456, 20, 8192)}
SCALE = 0.001
Answers = list[list[Response]]


class Ids:
    """A tokenizer for random models: tokens are their own text."""

    pad_token_id, eos_token_id, bos_token_id = 0, None, None

    def decode(self, tokens: Sequence[int], **_: Any) -> str:
        """The numbers."""
        return " ".join(map(str, tokens))


def random_model(layers: int, width: int, inner: int, heads: int, vocabulary: int) -> Any:
    """A random Llama whose layers add little to the stream."""
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
    """Random ids, of lengths spread evenly over `LENGTHS`."""
    draw = torch.Generator().manual_seed(1)
    lengths = torch.linspace(*LENGTHS, count).long().tolist()
    return [torch.randint(5, vocabulary, (length,), generator=draw).tolist() for length in lengths]


def real_prompts(tokenizer: Any, count: int) -> list[list[int]]:
    """Select items of the bundled tasks whose prompts have such lengths, tasks in turn."""
    tasks = choose(["arithmetic", "word_problems", "functions", "summaries", "facts"])
    columns = [[encode(tokenizer, one).ids for one in task.samples("select", 200, None)] for task in tasks]
    fitting = [[ids for ids in column if LENGTHS[0] <= len(ids) <= LENGTHS[1]] for column in columns]
    rounds = [column[at] for at in range(200) for column in fitting if at < len(column)]
    return rounds[:count]


def shortest(job: Callable[[], Any], times: int) -> float:
    """The shortest of several times, in seconds."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        job()
        found.append(time.perf_counter() - began)
    return min(found)


def workload(name: str, count: int) -> tuple[Any, Any, list[list[int]]]:
    """Model, tokenizer and prompts."""
    if name == "reference":
        loaded = load("reference", device="cpu")
        return loaded.model, loaded.tokenizer, real_prompts(loaded.tokenizer, count)
    model = random_model(*RANDOM[name])
    return model, Ids(), random_prompts(model.config.vocab_size, count)


def batched(engine: TransformersEngine, prompts: Sequence[list[int]], size: int) -> list[Response]:
    """Stock generation in batches of similar length."""
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
    found: dict[int, Response] = {}
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        found |= zip(chosen, engine.generate_batch([prompts[at] for at in chosen], NEW_TOKENS), strict=True)
    return [found[at] for at in range(len(prompts))]


def one_by_one(model: Any, tokenizer: Any, variants: Sequence[tuple[int, ...]], prompts: Any, size: int) -> Answers:
    """The simple way: each variant's layers skipped in memory, and stock generation."""
    engine, found = TransformersEngine(model, tokenizer), []
    for variant in variants:
        with without_layers(model, variant):
            found.append(batched(engine, prompts, size))
    return found


def best_batch(model: Any, tokenizer: Any, prompts: Sequence[list[int]]) -> int:
    """The batch size at which stock generation is quickest."""
    sizes = {min(size, len(prompts)) for size in BATCHES}
    return min(sizes, key=lambda size: shortest(lambda: one_by_one(model, tokenizer, [(1,)], prompts, size), 1))
