"""The sweep engine against one ablation after another, as ratios within one run: `python bench/sweep.py [--json]`.

All single-layer ablations of a model answer the same prompts of 20 to 120 tokens with up to 64 new ones, greedily:
together, and (a) by the paper's procedure, each written to disk by mergekit, loaded and asked; (b) each skipped in
memory and asked by stock generation; both at their best batch size. Runs alternate; figures are the median of the
ratios, with their range. Results are kept in bench/results.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from layerlimits.engines.sweep import sweep
from layerlimits.engines.transformers import transformers
from layerlimits.models.load import Loaded, load
from layerlimits.models.remove import without_layers
from layerlimits.prompts import encode
from layerlimits.tasks import choose
from layerlimits.types import Response

RESULTS = Path(__file__).with_name("results.json")
NEW_TOKENS = 64
LENGTHS = (20, 120)
BATCHES = (25, 50, 100)
# Layers, width, inner width, heads, vocabulary, and the factor of what layers add to the stream: chosen so that most
# variants agree with the base for about half their tokens, as trained models' do.
RANDOM = {"random-100M": (16, 704, 1920, 11, 8192, 0.001), "random-500M": (24, 1280, 3456, 20, 8192, 0.001)}
Answers = list[list[Response]]


class Ids:
    """A tokenizer for random models: tokens are their own text."""

    pad_token_id, eos_token_id, bos_token_id = 0, None, None

    def decode(self, tokens: Sequence[int], **_: Any) -> str:
        """The numbers."""
        return " ".join(map(str, tokens))


def random_model(name: str) -> Any:
    """A random Llama whose layers add little to the stream."""
    layers, width, inner, heads, vocabulary, factor = RANDOM[name]
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
        layer.self_attn.o_proj.weight.data.mul_(factor / 0.02 / width**0.5)
        layer.mlp.down_proj.weight.data.mul_(factor / 0.02 / inner**0.5)
    model.generation_config.eos_token_id = None
    return model


def random_prompts(vocabulary: int, count: int) -> list[list[int]]:
    """Random ids, of lengths spread evenly over `LENGTHS`."""
    draw = torch.Generator().manual_seed(1)
    lengths = torch.linspace(*LENGTHS, count).long().tolist()
    return [torch.randint(5, vocabulary, (length,), generator=draw).tolist() for length in lengths]


def real_prompts(loaded: Loaded, count: int) -> list[list[int]]:
    """Select items of the bundled tasks whose prompts have such lengths, tasks in turn."""
    tasks = choose(["arithmetic", "word_problems", "functions", "summaries", "facts"])
    columns = [[encode(loaded.tokenizer, one).ids for one in task.samples("select", 200, None)] for task in tasks]
    fitting = [[ids for ids in column if LENGTHS[0] <= len(ids) <= LENGTHS[1]] for column in columns]
    rounds = [column[at] for at in range(200) for column in fitting if at < len(column)]
    return rounds[:count]


def batched(engine: transformers, prompts: Sequence[list[int]], size: int) -> list[Response]:
    """Stock generation in batches of similar length."""
    order = sorted(range(len(prompts)), key=lambda at: len(prompts[at]))
    found: dict[int, Response] = {}
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        found |= zip(chosen, engine.generate([prompts[at] for at in chosen], NEW_TOKENS), strict=True)
    return [found[at] for at in range(len(prompts))]


def one_by_one(model: Any, tokenizer: Any, variants: Sequence[tuple[int, ...]], prompts: Any, size: int) -> Answers:
    """(b): each variant's layers skipped in memory, and stock generation."""
    engine, found = transformers(model, tokenizer), []
    for variant in variants:
        with without_layers(model, variant):
            found.append(batched(engine, prompts, size))
    return found


def by_disk(mergekit: str, folder: Path, depth: int, tokenizer: Any, prompts: Any, size: int) -> Answers:
    """(a): each variant merged to disk by mergekit's passthrough, loaded, and stock generation."""
    found = []
    for gone in range(depth):
        with tempfile.TemporaryDirectory() as work:
            spans = [span for span in ((0, gone), (gone + 1, depth)) if span[0] < span[1]]
            slices = "".join(f"- sources:\n  - model: {folder}\n    layer_range: [{a}, {b}]\n" for a, b in spans)
            recipe = Path(work) / "recipe.yaml"
            recipe.write_text(f"slices:\n{slices}merge_method: passthrough\ndtype: float32\n")
            command = [mergekit, str(recipe), f"{work}/merged", "--allow-crimes"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            model = AutoModelForCausalLM.from_pretrained(f"{work}/merged", dtype=torch.float32).eval()
            model.generation_config.eos_token_id = tokenizer.eos_token_id
            found.append(batched(transformers(model, tokenizer), prompts, size))
    return found


def best_batch(model: Any, tokenizer: Any, prompts: Sequence[list[int]]) -> int:
    """The batch size at which stock generation is quickest."""
    times = {}
    for size in sorted({min(size, len(prompts)) for size in BATCHES}):
        began = time.perf_counter()
        one_by_one(model, tokenizer, [(1,)], prompts, size)
        times[size] = time.perf_counter() - began
    return min(times, key=lambda size: times[size])


def compare(ours: Callable[[], Answers], theirs: Callable[[], Answers], repeats: int) -> dict[str, Any]:
    """Median and range of the paired ratios, with the seconds, and how many answers differ."""
    ratios, seconds = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        first = ours()
        between = time.perf_counter()
        second = theirs()
        seconds.append((between - began, time.perf_counter() - between))
        ratios.append(seconds[-1][1] / seconds[-1][0])
    pairs = [pair for one, other in zip(first, second, strict=True) for pair in zip(one, other, strict=True)]
    return {
        "ratio": median(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "seconds": [round(median(column), 2) for column in zip(*seconds, strict=True)],
        "answers": len(pairs),
        "differ": sum(one.tokens != other.tokens for one, other in pairs),
    }


def measured(name: str, count: int, repeats: int, mergekit: str | None) -> list[dict[str, Any]]:
    """The rows of one model and number of prompts."""
    loaded = load("reference", device="cpu")
    model, tokenizer = (loaded.model, loaded.tokenizer) if name == "reference" else (random_model(name), Ids())
    prompts = real_prompts(loaded, count) if name == "reference" else random_prompts(model.config.vocab_size, count)
    depth = model.config.num_hidden_layers
    variants = [(layer,) for layer in range(depth)]
    engine: Any = sweep(model, tokenizer)  # type: ignore[arg-type]  # all it needs of a tokenizer
    engine.generate_many(variants, prompts[:2], 2)
    size = best_batch(model, tokenizer, prompts)

    def together() -> Answers:
        engine.accepted = engine.written = 0
        found: Answers = engine.generate_many(variants, prompts, NEW_TOKENS)
        return found

    rows = [
        {"against": "simple"}
        | compare(together, lambda: one_by_one(model, tokenizer, variants, prompts, size), repeats)
    ]
    if mergekit:
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            job = lambda: by_disk(mergekit, Path(folder), depth, tokenizer, prompts, size)  # noqa: E731  # one use
            rows.append({"against": "paper"} | compare(together, job, 1))
    about = {"model": name, "work": f"{count} prompts", "batch": size, "threads": torch.get_num_threads()}
    drafted = engine.accepted / (engine.accepted + engine.written)
    return [about | row | {"accepted": round(drafted, 3)} for row in rows]


def keep(rows: Sequence[dict[str, Any]]) -> None:
    """Put the rows into the file of results, over those of the same work."""
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    name = lambda row: (row["model"], row["against"], row["work"])  # noqa: E731  # one use
    kept = {name(row): row for row in [*before, *rows]}
    RESULTS.write_text(json.dumps(list(kept.values()), indent=1) + "\n")


def main() -> None:
    """Measure what is asked for, keep it, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", default="reference", help="reference, random-100M, random-500M")
    parser.add_argument("--prompts", default="100,8")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--mergekit", help="path of the command mergekit-yaml, in an environment of its own")
    told = parser.parse_args()
    for name in told.models.split(","):
        for count in map(int, told.prompts.split(",")):
            rows = measured(name, count, told.repeats, told.mergekit)
            keep(rows)
            print(*map(json.dumps, rows), sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
