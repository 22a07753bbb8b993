"""Peak memory of a sweep of all single-layer variants of a trained model: `python bench/memory.py`.

The peak of resident memory is reset after loading, so that it is the sweep's. It is compared with the memory of the
weights and of the stored keys and values; the rest are activations, logits and what the process itself takes.
The sweep runs in a fresh process with freed memory kept and in another without, since that costs memory and saves time.
"""

import argparse
import json
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from real import FOLDERS, cpu, model_folder

from layerlimits.engines import _pool, _rows, sweep
from layerlimits.evaluation.prompts import encode
from layerlimits.models.load import Loaded, load
from layerlimits.tasks import choose

GIGABYTE = 1 << 30
WORKS = {"choices": ("arc_easy", "winogrande"), "programs": ("humanevalplus",)}


def resident(name: str) -> int:
    """A figure of the process's status, such as VmRSS or VmHWM, in bytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


class Stored:
    """The largest total size of keys and values in memory at the same time, in bytes."""

    def __init__(self) -> None:
        self.largest = 0
        pools: weakref.WeakSet[_pool.Pool] = weakref.WeakSet()
        begin, logits = _pool.Pool.__init__, _rows.Rows.logits

        def counted(pool: _pool.Pool, *args: Any, **kwargs: Any) -> None:
            begin(pool, *args, **kwargs)
            pools.add(pool)

        def measured(*args: Any, **kwargs: Any) -> Iterator[Any]:
            yield from logits(*args, **kwargs)
            total = sum(stored.nbytes for pool in pools for stored in (*pool.keys, *pool.values) if stored is not None)
            self.largest = max(self.largest, total)

        _pool.Pool.__init__, _rows.Rows.logits = counted, measured  # type: ignore[method-assign]  # measured


def run_sweep(loaded: Loaded, work: str, args: argparse.Namespace) -> float:
    """Seconds of the sweep."""
    engine = sweep.SweepEngine(loaded.model, loaded.tokenizer)
    variants = [(layer,) for layer in range(loaded.depth)]
    samples = [
        sample for task in choose(list(WORKS[work])) for sample in task.samples("evaluate", args.items, args.data_dir)
    ]
    began = time.perf_counter()
    if work == "choices":
        engine.loglikelihoods(variants, [row for sample in samples for row in encode(loaded.tokenizer, sample).rows])
    else:
        engine.generate(variants, [encode(loaded.tokenizer, sample).ids for sample in samples], args.tokens)
    return time.perf_counter() - began


def measure(args: argparse.Namespace) -> None:
    """One sweep in this process."""
    if not args.keep:
        sweep.keep_freed_memory = lambda: False
    loaded = load(str(model_folder(args.model)), dtype=args.dtype, device="cpu")
    weights = sum(weight.numel() * weight.element_size() for weight in loaded.model.parameters())
    stored = Stored()
    # Resets VmHWM (proc(5)).
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    seconds = run_sweep(loaded, args.work, args)
    peak = resident("VmHWM")
    row = {"model": args.model, "work": args.work, "keeps_freed_memory": args.keep, "cpu": cpu()}
    sizes = {"peak": peak, "weights": weights, "stored": stored.largest, "before": before}
    row |= {f"{name}_gb": round(size / GIGABYTE, 2) for name, size in sizes.items()}
    row |= {"rest_gb": round((peak - weights - stored.largest) / GIGABYTE, 2), "seconds": round(seconds, 1)}
    print(json.dumps(row), flush=True)


def main() -> None:
    """Measure in fresh processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="qwen2.5-coder-0.5b", help=", ".join(FOLDERS))
    parser.add_argument("--work", choices=WORKS, help="default: both")
    parser.add_argument("--items", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48, help="longest program in tokens")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    parser.add_argument("--keep", type=int, choices=[0, 1], help="whether freed memory is kept; default: both")
    args = parser.parse_args()
    if args.work and args.keep is not None:
        args.keep = bool(args.keep)
        measure(args)
        return
    for work in [args.work] if args.work else WORKS:
        for keep in [args.keep] if args.keep is not None else (1, 0):
            chosen = ["--work", work, "--keep", str(keep)]
            subprocess.run([sys.executable, __file__, *sys.argv[1:], *chosen], check=True)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
