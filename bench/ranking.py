"""Speed of ranking relative to a straightforward implementation: `python bench/ranking.py [--json]`.

For each model, it measures (1) the cost of block_influence and angular for all n relative to one plain forward pass
over the same text, and (2) the speedup of the perplexity of every one-layer removal over removing each layer and
running the model again at its best batch size. Runs alternate; figures are the median of the ratios, with their range.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from layerlimits.evaluation.calibration import Calibration, calibration
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import Store
from layerlimits.methods import Context
from layerlimits.methods._similarity import _measure
from layerlimits.models.load import Loaded, load
from layerlimits.models.losses import losses_without, summed_loss
from layerlimits.models.remove import without_layers
from layerlimits.models.stream import batches
from layerlimits.types import Text

REPEATS = 5
# Fewer repeats, since running the large model again for each removal takes seconds.
REPEATS_OF_REMOVALS = 3
BATCH_TOKENS = (256, 1024, 4096)

Job = Callable[[], Any]


def random_model() -> PreTrainedModel:
    """A random Llama of 24 layers and about 100 million parameters, vocabulary 4,096."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=576,
        intermediate_size=1600,
        num_hidden_layers=24,
        num_attention_heads=9,
        num_key_value_heads=9,
        vocab_size=4096,
    )
    return LlamaForCausalLM(config).eval()


def random_text(model: PreTrainedModel, texts: int, tokens: int) -> Calibration:
    """Random texts with lengths around `tokens`."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(tokens // 2, tokens * 3 // 2, (texts,), generator=generator).tolist()
    ids = [torch.randint(5, model.config.vocab_size, (length,), generator=generator).tolist() for length in lengths]
    return Calibration(tuple(map(tuple, ids)), tuple(map(str, range(texts))), "random ids")


def compare(jobs: dict[str, Job], repeats: int = REPEATS, *, warm: bool = False) -> dict[str, list[float]]:
    """Seconds of each job; runs are interleaved, so that noise affects all jobs equally. The first turn is warm-up."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(int(warm), repeats + 1):
        for name, job in jobs.items():
            began = time.perf_counter()
            job()
            if turn:
                times[name].append(time.perf_counter() - began)
    return times


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """Median and range of the paired ratios."""
    ratios = [numerator / denominator for numerator, denominator in zip(above, below, strict=True)]
    return {"ratio": median(ratios), "low": min(ratios), "high": max(ratios)}


@torch.no_grad()
def plain_pass(model: PreTrainedModel, text: Calibration) -> None:
    """One forward pass over the text."""
    for batch in batches(model, text.ids):
        model(**batch.inputs)


def similarity(loaded: Loaded, text: Calibration, folder: Path) -> dict[str, Any]:
    """block_influence and angular for all n, relative to a plain pass over the same batches."""
    with Store(folder) as store:
        context = Context(Evaluator(loaded, store), None, text)
        jobs: dict[str, Job] = {
            "both": lambda: _measure(context, lambda share: None),
            "plain": lambda: plain_pass(loaded.model, text),
        }
        times = compare(jobs)
    return {"what": "block_influence and angular / plain pass", **ratio(times["both"], times["plain"])}


@torch.no_grad()
def run_again(model: PreTrainedModel, texts: Sequence[Text], layers: Sequence[int], tokens: int) -> list[float]:
    """The straightforward way: remove each layer and run the model over the text."""
    losses = []
    for layer in layers:
        with without_layers(model, (layer,)) as view:
            sums = [
                float(summed_loss(view(**batch.inputs).logits, batch, texts))
                for batch in batches(view, [text.ids for text in texts], tokens)
            ]
        losses.append(sum(sums) / sum(text.predicted for text in texts))
    return losses


def perplexity(model: PreTrainedModel, text: Calibration, removed: tuple[int, ...], what: str) -> dict[str, Any]:
    """The loss without each remaining layer, after removing `removed`: shared prefixes against running again."""
    texts = [Text(ids) for ids in text.ids]
    with without_layers(model, removed) as view:
        layers = range(view.config.num_hidden_layers)
        trials = {}
        for tokens in BATCH_TOKENS:
            began = time.perf_counter()
            run_again(view, texts, layers[:3], tokens)
            trials[tokens] = time.perf_counter() - began
        best = min(trials, key=lambda tokens: trials[tokens])
        jobs: dict[str, Job] = {
            "again": lambda: run_again(view, texts, layers, best),
            "shared": lambda: losses_without(view, texts, layers),
        }
        times = compare(jobs, REPEATS_OF_REMOVALS, warm=True)
        _, shared = losses_without(view, texts, layers)
        again = run_again(view, texts, layers, best)
    apart = max(abs(ours / theirs - 1) for ours, theirs in zip(shared.values(), again, strict=True))
    return {"what": what, **ratio(times["again"], times["shared"]), "batch_tokens": best, "apart": apart}


def measure() -> list[dict[str, Any]]:
    """Measure all rows of the table."""
    reference = load("reference", device="cpu")
    large = replace(reference, model=random_model(), depth=24)
    texts = {
        "reference": calibration(reference.tokenizer, 64),
        "random, 24 layers": random_text(large.model, 4, 128),
    }
    rows = []
    for name, loaded in (("reference", reference), ("random, 24 layers", large)):
        text = texts[name]
        size = {"model": name, "parameters": loaded.model.num_parameters(), "tokens": sum(map(len, text.ids))}
        with tempfile.TemporaryDirectory() as folder:
            rows.append(size | similarity(loaded, text, Path(folder)))
        rows.append(size | perplexity(loaded.model, text, (), "perplexity: each layer run again / shared"))
        rows.append(size | perplexity(loaded.model, text, (3, 7), "third round of sleb: run again / shared"))
        print(*rows[-3:], sep="\n", file=sys.stderr)
    return rows


def main() -> None:
    """Print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    rows = measure()
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    table = Table(
        title=f"{torch.get_num_threads()} threads; median and range of {REPEATS} or {REPEATS_OF_REMOVALS} ratios"
    )
    for column in ("model", "parameters", "tokens", "what", "ratio", "range"):
        table.add_column(column)
    for row in rows:
        spread = f"{row['low']:.2f} to {row['high']:.2f}"
        table.add_row(
            row["model"], f"{row['parameters']:,}", f"{row['tokens']:,}", row["what"], f"{row['ratio']:.2f}", spread
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
