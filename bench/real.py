"""Speed on trained models of other makers, with real benchmark items: `python bench/real.py`.

Log-likelihoods are compared with HFLM of lm-evaluation-harness, and generated answers with stock generation, each at
its best batch size and in the same number type. Both sides alternate; figures are the median of the ratios, with their
range. `limit` is what no implementation of ours can exceed: of choices the ratio of the two sides' multiplications, of
programs the other side's time over that of our multiplications at this machine's best rate. Each run is written to
bench/results.json when it ends.

Models are folders in $LL_MODELS (default: ~/.cache/layerlimits/models), items files in `--data-dir`.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from limits import choice_limit, decoding_seconds
from runs import paired, saved
from sweep import by_disk
from workload import batched, best_batch, one_by_one

from layerlimits.engines.hflm import HflmEngine
from layerlimits.engines.sweep import SweepEngine
from layerlimits.engines.transformers import TransformersEngine
from layerlimits.evaluation.prompts import encode
from layerlimits.models.load import Loaded, load
from layerlimits.models.remove import without_layers
from layerlimits.tasks import choose
from layerlimits.types import Continuation

FOLDERS = {"smollm2-135m": "smollm2-135m-instruct", "qwen2.5-coder-0.5b": "qwen2.5-coder-0.5b-instruct"}
ITEMS, PROGRAMS, PAPER_VARIANTS = 100, 32, 8
BATCHES = (1, 4, 16, 64)
Sums = list[list[tuple[float, bool]]]
# Name of the work: tasks, shots, and whether every single-layer variant is evaluated.
CHOICE = {
    "choice 0-shot": (("arc_easy", "openbookqa"), 0, False),
    "choice 5-shot": (("arc_challenge", "winogrande"), 5, False),
    "choice fixed shots": ((), 5, False),
    "choice sweep": (("arc_easy", "openbookqa"), 0, True),
}


def model_folder(name: str) -> Path:
    """Where a model is, if it has been fetched."""
    return Path(os.environ.get("LL_MODELS") or Path.home() / ".cache" / "layerlimits" / "models") / FOLDERS[name]


def cpu() -> str:
    """The processor's name and whether it multiplies bfloat16 itself."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")]
    fast = " with AVX512-BF16" if "avx512_bf16" in text else ""
    return f"{names[0] if names else platform.processor()}{fast}, {torch.get_num_threads()} threads"


def rows_of(work: str, loaded: Loaded, data: Path, items: int) -> list[Continuation]:
    """The contexts and continuations of a work."""
    tasks, shots, _ = CHOICE[work]
    if not tasks:
        return fixed_shots(loaded, data, items, shots)
    samples = [
        sample for task in choose(list(tasks), shots=shots or None) for sample in task.samples("evaluate", items, data)
    ]
    return [row for sample in samples for row in encode(loaded.tokenizer, sample).rows]


def fixed_shots(loaded: Loaded, data: Path, items: int, shots: int) -> list[Continuation]:
    """Questions of ARC in the form of MMLU: the same examples before each of them, and letters as choices."""
    lines = (data / "arc_easy" / "test.jsonl").read_text().splitlines()
    asked = [row for row in map(json.loads, lines) if len(row["choices"]["text"]) == 4][: items + shots]
    options = [zip("ABCD", row["choices"]["text"], strict=True) for row in asked]
    lists = ["\n".join(f"{letter}. {text}" for letter, text in pairs) for pairs in options]
    texts = [f"{row['question']}\n{listed}" for row, listed in zip(asked, lists, strict=True)]
    answers = ["ABCD"[row["choices"]["label"].index(row["answerKey"])] for row in asked]
    pairs = list(zip(texts, answers, strict=True))
    head = "".join(f"{text}\nAnswer: {answer}\n\n" for text, answer in pairs[:shots])
    tokens = loaded.tokenizer
    letters = [list(tokens(f" {letter}", add_special_tokens=False)["input_ids"]) for letter in "ABCD"]
    contexts = [list(tokens(f"{head}{text}\nAnswer:")["input_ids"]) for text in texts[shots:]]
    return [(context, letter) for context in contexts for letter in letters]


def harness_at_its_best(loaded: Loaded, rows: Sequence[Continuation]) -> HflmEngine:
    """HFLM with the batch size that is fastest on the first rows."""
    some, seconds = rows[: max(BATCHES)], {}
    for size in BATCHES:
        engine = HflmEngine(loaded.model, loaded.tokenizer, batch_size=size)
        began = time.perf_counter()
        engine.loglikelihood_batch(some)
        seconds[size] = time.perf_counter() - began
    return HflmEngine(loaded.model, loaded.tokenizer, batch_size=min(seconds, key=lambda size: seconds[size]))


def choice(work: str, loaded: Loaded, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a row after each run."""
    rows, sweeps = rows_of(work, loaded, args.data_dir, args.items), CHOICE[work][2]
    variants = [(number,) for number in range(loaded.depth)] if sweeps else [()]
    theirs, ours = harness_at_its_best(loaded, rows), SweepEngine(loaded.model, loaded.tokenizer)
    assert ours.refusal is None

    def by_harness() -> Sums:
        results = []
        for variant in variants:
            with without_layers(loaded.model, variant):
                results.append(theirs.loglikelihood_batch(rows))
        return results

    for _ in range(args.repeats):
        seconds, first, second = paired(lambda: ours.loglikelihoods(variants, rows), by_harness)
        pairs = [pair for mine, other in zip(first, second, strict=True) for pair in zip(mine, other, strict=True)]
        yield {
            "against": "lm-eval",
            "work": work,
            "batch": theirs._harness.batch_size,
            "limit": round(choice_limit(loaded, rows, sweeps), 2),
            "largest_difference": max(abs(mine[0] - other[0]) for mine, other in pairs),
            "run": seconds,
        }


def code(work: str, loaded: Loaded, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield a row after each run of programs that are written by all single-layer variants, or by one model."""
    (task,) = choose(["humanevalplus"])
    prompts = [
        encode(loaded.tokenizer, sample).ids for sample in task.samples("evaluate", args.programs, args.data_dir)
    ]
    ours = SweepEngine(loaded.model, loaded.tokenizer)
    stock = TransformersEngine(loaded.model, loaded.tokenizer)
    size = best_batch(loaded.model, loaded.tokenizer, prompts, args.tokens // 16)
    for against in ("simple",) if work == "one model" else args.against.split(","):
        removed = range(0, loaded.depth, loaded.depth // PAPER_VARIANTS if against == "paper" else 1)
        variants: list[tuple[int, ...]] = [()] if work == "one model" else [(layer,) for layer in removed]

        def theirs(against: str = against, variants: Any = variants, removed: Any = removed) -> Any:
            if against == "paper":
                folder, dtype = Path(loaded.ref.path), loaded.ref.dtype
                return by_disk(args.mergekit, folder, removed, loaded.tokenizer, prompts, size, args.tokens, dtype)
            if work == "one model":
                return [batched(stock, prompts, size, args.tokens)]
            return one_by_one(loaded.model, loaded.tokenizer, variants, prompts, size, args.tokens)

        for _ in range(args.repeats):
            seconds, first, second = paired(partial(ours.generate, variants, prompts, args.tokens), theirs)
            pairs = [pair for mine, other in zip(first, second, strict=True) for pair in zip(mine, other, strict=True)]
            differ = sum(mine.tokens != other.tokens for mine, other in pairs)
            limit = round(seconds[1] / decoding_seconds(loaded, prompts, variants, first), 2)
            row = {"against": against, "work": work, "batch": size, "limit": limit, "answers": len(pairs)}
            yield row | {"differ": differ, "run": seconds}


def main() -> None:
    """Run the selected measurements, save and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", default="qwen2.5-coder-0.5b", help=", ".join(FOLDERS))
    parser.add_argument("--work", default=",".join(CHOICE), help="also: one model, code sweep")
    parser.add_argument("--against", default="simple", help="of the code sweep: simple, paper")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--items", type=int, default=ITEMS, help="items of each choice task")
    parser.add_argument("--programs", type=int, default=PROGRAMS, help="items of HumanEval+")
    parser.add_argument("--tokens", type=int, default=512, help="longest program in tokens")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    parser.add_argument("--add", action="store_true", help="add to earlier runs of the same code on the same machine")
    parser.add_argument("--mergekit", default=".mergekit/bin/mergekit-yaml", help="in a separate environment")
    args = parser.parse_args()
    for name in args.models.split(","):
        loaded = load(str(model_folder(name)), dtype=args.dtype, device="cpu")
        about = {"model": name, "dtype": loaded.ref.dtype, "cpu": cpu()}
        for work in args.work.split(","):
            begun: set[str] = set()
            for row in choice(work, loaded, args) if work in CHOICE else code(work, loaded, args):
                afresh = not args.add and row["against"] not in begun
                begun.add(row["against"])
                print(json.dumps(saved(about | row, afresh)), flush=True)


if __name__ == "__main__":
    main()
