"""Speedup of each technique of the sweep engine, and its speed relative to the machine's limit:
`python bench/techniques.py`.

Techniques are enabled one after another. Operations and bytes are counted during the passes and divided by the rates
that the machine reaches on matrices of the model's shapes and on reading memory.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from rich.console import Console
from rich.table import Table
from torch.nn.functional import linear
from workload import NEW_TOKENS, best_batch, one_by_one, shortest, workload

from layerlimits.engines import _forks
from layerlimits.engines._guesses import MAX_GUESS
from layerlimits.engines._lookup import Lookup
from layerlimits.engines._pool import Pool
from layerlimits.engines._rows import Rows
from layerlimits.engines.sweep import SweepEngine

# Number of rows of a large matrix product, where the rate is highest.
LARGE = 2048
# Number of measurements per rate.
TIMES = 7


@dataclass
class Work:
    """Work of the passes: tokens times layers, logits, and keys and values read by single-token steps (in tokens)."""

    tokens: int = 0
    logits: int = 0
    read: int = 0


def unshared(depth: int, texts: int, variants: Any, max_positions: int, device: torch.device) -> Pool:
    """A pool whose rows follow none: every row computes its prompt itself."""
    pool = REAL_POOL(depth, texts, variants, max_positions, device)
    pool.computed = pool.has_layer.clone()
    # The base's rows are there to be followed only.
    pool.computed[:, :texts] = False
    pool._forks, pool.end = [None] * depth, torch.arange(pool.size)
    pool._orders = [layer.nonzero()[:, 0] for layer in pool.computed]
    pool._update_rows()
    return pool


REAL_POOL = _forks._pool


@contextmanager
def counted(work: Work) -> Iterator[None]:
    """Count the work of the passes."""
    real = Rows.logits

    def logits(self: Rows, pool: Pool, ids: Any, positions: Any, visible: int, wanted: Any) -> Any:
        work.tokens += int(pool.computed.sum()) * ids.shape[1]
        work.logits += len(wanted[0])
        work.read += int(pool.computed.sum()) * visible * (ids.shape[1] <= 1 + MAX_GUESS)
        return real(self, pool, ids, positions, visible, wanted)

    with patch.object(Rows, "logits", logits):
        yield


def rates(model: Any) -> tuple[float, float]:
    """Operations per second on matrix products of the model's shapes, and bytes read per second."""
    weights = [weight for weight in model.model.layers[0].parameters() if weight.dim() == 2]
    rows = {weight.shape[1]: torch.randn(LARGE, weight.shape[1]) for weight in weights}
    seconds = shortest(lambda: [linear(rows[weight.shape[1]], weight) for weight in weights], TIMES)
    large = torch.ones(1 << 28)
    return 2 * LARGE * sum(map(torch.numel, weights)) / seconds, large.nbytes / shortest(large.sum, TIMES)


def report(name: str, count: int, repeats: int, whole: bool) -> None:
    """Print the speedup of each technique, or of the whole engine only, and its fraction of the limit."""
    model, tokenizer, prompts = workload(name, count)
    variants = [(layer,) for layer in range(model.config.num_hidden_layers)]
    engine = SweepEngine(model, tokenizer)
    engine.generate(variants, prompts[:2], 2)
    none: list[Any] = [[] for _ in prompts]
    no_prefix = patch.object(_forks, "_pool", unshared)
    no_lookup = patch.object(Lookup, "ahead", lambda self, tail, max_tokens: [])
    ways: list[tuple[str, list[Any], Any]] = [
        ("variants in one batch", [no_prefix, no_lookup], none),
        ("+ shared prompt prefixes", [no_lookup], none),
        ("+ the base model's answers as drafts", [no_lookup], None),
        ("+ drafts by prompt lookup", [], None),
    ]
    table = Table("way", "seconds", "ratio", "tokens x layers", "TFLOP", title=f"{name}, {count} prompts")
    stock = float("nan")
    if not whole:
        size = best_batch(model, tokenizer, prompts)
        stock = shortest(lambda: one_by_one(model, tokenizer, variants, prompts, size), repeats)
        table.add_row(f"one after another, batches of {size}", f"{stock:.2f}", "1", "", "")
    weights = sum(weight.numel() for weight in model.model.layers[0].parameters())
    head = model.get_output_embeddings().weight.numel()
    for label, switched, drafts in ways[-1:] if whole else ways:
        work = Work()
        with ExitStack() as stack:
            for switch in switched:
                stack.enter_context(switch)
            job = partial(engine.generate, variants, prompts, NEW_TOKENS, drafts=drafts)
            seconds = shortest(job, repeats)
            with counted(work):
                job()
        operations = 2 * (work.tokens * weights + work.logits * head)
        ratio = "" if whole else f"{stock / seconds:.2f}"
        cells = (f"{seconds:.2f}", ratio, f"{work.tokens:,}", f"{operations / 1e12:.3f}")
        table.add_row(label, *cells)
    Console(width=120).print(table)
    gemm, reading = rates(model)
    token_bytes = engine._trial.token_bytes / len(variants) if engine._trial else 0
    limit = operations / gemm + work.read * token_bytes / reading
    print(f"rates of this machine: {gemm / 1e9:.0f} GFLOPS, {reading / 1e9:.1f} GB/s")
    print(
        f"at these rates: products {operations / gemm:.2f} s, reading keys and values {limit - operations / gemm:.2f} s"
    )
    print(f"the engine reaches {limit / seconds:.0%} of this limit")


def main() -> None:
    """Run the selected measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", default="reference")
    parser.add_argument("--prompts", default="100,8")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--whole", action="store_true", help="measure only the whole engine against the machine's limit"
    )
    args = parser.parse_args()
    for name in args.models.split(","):
        for count in map(int, args.prompts.split(",")):
            report(name, count, args.repeats, args.whole)


if __name__ == "__main__":
    sys.exit(main())
