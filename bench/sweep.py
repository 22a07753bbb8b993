"""The sweep engine against one ablation after another, as ratios within one run: `python bench/sweep.py`.

All single-layer ablations of a model answer the same prompts of 20 to 120 tokens with up to 64 new ones, greedily:
together, and (a) by the paper's procedure, each written to disk by mergekit, loaded and asked; (b) each skipped in
memory and asked by stock generation; both at their best batch size. "iterative" is a selection of four layers in greedy
rounds, together and with races, and by (b) with every candidate asked everything. Runs alternate; figures are the
median of the ratios, with their range. Each run is kept in bench/results.json as it ends; `--add` goes on from there.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import AutoModelForCausalLM
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

RESULTS = Path(__file__).with_name("results.json")
SELECTED, ITEMS = 4, 32


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
            found.append(batched(TransformersEngine(model, tokenizer), prompts, size))
    return found


def paired(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[list[float], Any, Any]:
    """Seconds of both, one right after the other, and what both gave."""
    began = time.perf_counter()
    first = ours()
    between = time.perf_counter()
    second = theirs()
    return [round(between - began, 3), round(time.perf_counter() - between, 3)], first, second


def measured(name: str, count: int, repeats: int, against: Sequence[str], mergekit: str) -> Iterator[dict[str, Any]]:
    """A row after each run of a model and number of prompts."""
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
            "paper": lambda: by_disk(mergekit, Path(folder), depth, tokenizer, prompts, size),
        }
        for other in against:
            for _ in range(repeats):
                seconds, first, second = paired(together, ways[other])
                pairs = [pair for one, two in zip(first, second, strict=True) for pair in zip(one, two, strict=True)]
                row = {"model": name, "against": other, "work": f"{count} prompts", "batch": size}
                drafted = engine.accepted / (engine.accepted + engine.written)
                differ = sum(one.tokens != two.tokens for one, two in pairs)
                yield row | {"answers": len(pairs), "differ": differ, "accepted": round(drafted, 3), "run": seconds}


def selected(loaded: Loaded, engine: str, size: int, error: float) -> dict[str, Any]:
    """Four layers of the reference model by greedy rounds, from nothing stored."""
    with tempfile.TemporaryDirectory() as folder:
        evaluator = Evaluator(loaded, Store(Path(folder)), AskOptions(engine, size))
        tasks = choose(["word_problems", "functions", "summaries"])
        text = calibration(loaded.tokenizer, 1)
        ranking = task_score(Context(evaluator, SELECTED, text, tasks, ITEMS), error=error)
        return {"order": ranking.order[:SELECTED], "race": ranking.detail["race"]}


def iterative(repeats: int) -> Iterator[dict[str, Any]]:
    """Rounds together against rounds by (b), a row after each run."""
    loaded = load("reference", device="cpu")
    for _ in range(repeats):
        seconds, ours, theirs = paired(
            lambda: selected(loaded, "sweep", 128, 0.05), lambda: selected(loaded, "transformers", ITEMS, 0)
        )
        row = {"model": "reference", "against": "simple", "work": "iterative", "layers": ours["order"]}
        yield row | {"same": ours["order"] == theirs["order"], "race": ours["race"], "run": seconds}


def kept(row: dict[str, Any], afresh: bool) -> dict[str, Any]:
    """The row with all its runs, put into the file of results; `afresh` forgets earlier runs of the same work."""
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    name = itemgetter("model", "against", "work")
    runs = [run for old in rows if name(old) == name(row) and not afresh for run in old["runs"]] + [row.pop("run")]
    ratios = [theirs / ours for ours, theirs in runs]
    row |= {"threads": torch.get_num_threads(), "ratio": median(ratios), "low": min(ratios), "high": max(ratios)}
    row["runs"] = runs
    rows = [old for old in rows if name(old) != name(row)] + [row]
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")
    return row


def main() -> None:
    """Measure what is asked for, keep it, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", default="reference", help="reference, random-100M, random-500M")
    parser.add_argument("--work", default="100,8", help="numbers of prompts, and iterative")
    parser.add_argument("--against", default="simple", help="simple, paper")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--add", action="store_true", help="to the runs there are, of this same code on this machine")
    parser.add_argument("--mergekit", default=".mergekit/bin/mergekit-yaml", help="in an environment of its own")
    told = parser.parse_args()
    for name in told.models.split(","):
        for work in told.work.split(","):
            begun: set[str] = set()
            if work == "iterative":
                rows = iterative(told.repeats)
            else:
                rows = measured(name, int(work), told.repeats, told.against.split(","), told.mergekit)
            for row in rows:
                afresh = not told.add and row["against"] not in begun
                begun.add(row["against"])
                print(json.dumps(kept(row, afresh)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
