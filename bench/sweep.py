"""Speed of the sweep engine relative to evaluating one ablation at a time: `python bench/sweep.py`.

All single-layer ablations of a model answer the same prompts of 20 to 120 tokens with up to 64 new tokens, greedily.
The sweep engine is compared with (a) the paper's procedure, which writes each ablation to disk with mergekit and loads
it, and (b) skipping each layer in memory and using stock generation, both at their best batch size. "iterative" selects
four layers in greedy rounds, with the sweep engine and racing, and with (b) and every candidate evaluated on all items.
Runs alternate; figures are the median of the ratios, with their range. Each run is written to bench/results.json when
it ends; `--add` keeps earlier runs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from runs import paired, saved
from transformers import AutoConfig, AutoModelForCausalLM
from workload import NEW_TOKENS, Answers, batched, best_batch, one_by_one, workload

from layerlimits.engines.sweep import SweepEngine
from layerlimits.engines.transformers import TransformersEngine
from layerlimits.evaluation.calibration import calibration
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.store import Store
from layerlimits.methods import Context
from layerlimits.methods.task_score import task_score
from layerlimits.models.load import Loaded, load
from layerlimits.tasks import choose

SELECTED, ITEMS = 4, 32


def without_layer_types(config: Path) -> None:
    """Remove the list of kinds of layers, which mergekit leaves as it was: transformers rejects one that is too long.

    The models of the benchmarks have layers of one kind.
    """
    content = json.loads(config.read_text())
    content.pop("layer_types", None)
    config.write_text(json.dumps(content))


def by_disk(
    mergekit: str,
    folder: Path,
    removed: Sequence[int],
    tokenizer: Any,
    prompts: Any,
    size: int,
    new_tokens: int = NEW_TOKENS,
    dtype: str = "float32",
) -> Answers:
    """(a): write the model without each of these layers to disk with mergekit's passthrough, load it, and use stock
    generation.
    """
    answers, depth = [], AutoConfig.from_pretrained(folder).num_hidden_layers
    for gone in removed:
        with tempfile.TemporaryDirectory() as work:
            spans = [span for span in ((0, gone), (gone + 1, depth)) if span[0] < span[1]]
            slices = "".join(f"- sources:\n  - model: {folder}\n    layer_range: [{a}, {b}]\n" for a, b in spans)
            recipe = Path(work) / "recipe.yaml"
            recipe.write_text(f"slices:\n{slices}merge_method: passthrough\ndtype: {dtype}\n")
            command = [mergekit, str(recipe), f"{work}/merged", "--allow-crimes"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            without_layer_types(Path(work) / "merged" / "config.json")
            model = AutoModelForCausalLM.from_pretrained(f"{work}/merged", dtype=getattr(torch, dtype)).eval()
            model.generation_config.eos_token_id = tokenizer.eos_token_id
            answers.append(batched(TransformersEngine(model, tokenizer), prompts, size, new_tokens))
    return answers


def measured(name: str, count: int, repeats: int, against: Sequence[str], mergekit: str) -> Iterator[dict[str, Any]]:
    """Yield a row after each run of a model and number of prompts."""
    model, tokenizer, prompts = workload(name, count)
    depth = model.config.num_hidden_layers
    variants = [(layer,) for layer in range(depth)]
    engine = SweepEngine(model, tokenizer)
    engine.generate(variants, prompts[:2], 2)
    size = best_batch(model, tokenizer, prompts)

    def together() -> Answers:
        engine.accepted = engine.written = 0
        return engine.generate(variants, prompts, NEW_TOKENS)

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        ways: dict[str, Callable[[], Answers]] = {
            "simple": lambda: one_by_one(model, tokenizer, variants, prompts, size),
            "paper": lambda: by_disk(mergekit, Path(folder), range(depth), tokenizer, prompts, size),
        }
        for other in against:
            for _ in range(repeats):
                seconds, first, second = paired(together, ways[other])
                pairs = [
                    pair for mine, others in zip(first, second, strict=True) for pair in zip(mine, others, strict=True)
                ]
                row = {"model": name, "against": other, "work": f"{count} prompts", "batch": size}
                drafted = engine.accepted / (engine.accepted + engine.written)
                differ = sum(ours.tokens != theirs.tokens for ours, theirs in pairs)
                yield row | {"answers": len(pairs), "differ": differ, "accepted": round(drafted, 3), "run": seconds}


def selected(loaded: Loaded, engine: str, size: int, error: float) -> dict[str, Any]:
    """Select four layers of the reference model in greedy rounds, with an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        evaluator = Evaluator(loaded, Store(Path(folder)), AskOptions(engine, size))
        tasks = choose(["word_problems", "functions", "summaries"])
        text = calibration(loaded.tokenizer, 1)
        ranking = task_score(Context(evaluator, SELECTED, text, tasks, ITEMS), error=error)
        return {"order": ranking.order[:SELECTED], "race": ranking.detail["race"]}


def iterative(repeats: int) -> Iterator[dict[str, Any]]:
    """Compare greedy rounds with the sweep engine and by (b); yields a row after each run."""
    loaded = load("reference", device="cpu")
    for _ in range(repeats):
        seconds, ours, theirs = paired(
            lambda: selected(loaded, "sweep", 128, 0.05), lambda: selected(loaded, "transformers", ITEMS, 0)
        )
        row = {"model": "reference", "against": "simple", "work": "iterative", "layers": ours["order"]}
        yield row | {"same": ours["order"] == theirs["order"], "race": ours["race"], "run": seconds}


def main() -> None:
    """Run the selected measurements, save and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", default="reference", help="reference, random-100M, random-500M")
    parser.add_argument("--work", default="100,8", help="numbers of prompts, or iterative")
    parser.add_argument("--against", default="simple", help="simple, paper")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--add", action="store_true", help="add to earlier runs of the same code on the same machine")
    parser.add_argument(
        "--mergekit", default=".mergekit/bin/mergekit-yaml", help="mergekit-yaml, in a separate environment"
    )
    args = parser.parse_args()
    for name in args.models.split(","):
        for work in args.work.split(","):
            begun: set[str] = set()
            if work == "iterative":
                rows = iterative(args.repeats)
            else:
                rows = measured(name, int(work), args.repeats, args.against.split(","), args.mergekit)
            for row in rows:
                afresh = not args.add and row["against"] not in begun
                begun.add(row["against"])
                print(json.dumps(saved(row, afresh)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
