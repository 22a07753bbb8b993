"""Answers of the sweep engine compared with stock generation, by number type: `python bench/exactness.py MODEL`.

Single-layer variants of a model answer GSM8K prompts greedily: together in the sweep engine, and one prompt at a time
with the `generate` of transformers on a copy of the model without the layer. For comparison, stock generation also
answers the prompts as one padded batch. In exact arithmetic all three are equal. For both comparisons with stock
generation one prompt at a time, the script prints the number of different answers and tokens, and how far apart the
two logits are where an answer first differs: in float32, a gap below 1e-4 is a tie that rounding decides. Rows are
written to bench/exactness.json; a row replaces an older one of the same model, number type and amount of work.
"""

import argparse
import copy
import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from layerlimits.engines.sweep import SweepEngine
from layerlimits.engines.transformers import TransformersEngine
from layerlimits.evaluation.prompts import encode
from layerlimits.models.generation import end_tokens
from layerlimits.models.load import load
from layerlimits.models.remove import remove
from layerlimits.tasks import choose
from layerlimits.types import Response

RESULTS = Path(__file__).with_name("exactness.json")
# Logits that differ by less are a tie in float32.
TIE = 1e-4
# Stands for the end of an answer.
END = -1


@dataclass
class Differences:
    """Differences between answers and those of stock generation, one prompt at a time.

    Args:
        answers, different_answers: Number of answers, and of those that differ anywhere.
        tokens, different_tokens: Number of tokens of the stock answers, ends included, and of those with another token
            in their place.
        ties: Number of different answers whose first different tokens have logits within `TIE` of each other.
        largest_gap: Largest difference between these logits.
    """

    answers: int = 0
    different_answers: int = 0
    tokens: int = 0
    different_tokens: int = 0
    ties: int = 0
    largest_gap: float = 0.0

    def add(self, pruned: Any, ends: Collection[int], prompt: list[int], stock: Response, other: Response) -> None:
        """Compare two answers of a pruned model to a prompt."""
        expected, actual = _with_end(stock), _with_end(other)
        self.answers += 1
        self.tokens += len(expected)
        if expected == actual:
            return
        pairs = list(zip(expected, actual, strict=False))
        unequal = [place for place, (first, second) in enumerate(pairs) if first != second]
        self.different_answers += 1
        self.different_tokens += len(unequal) + len(expected) - len(pairs)
        gap = _gap(pruned, ends, [*prompt, *expected[: unequal[0]]], pairs[unequal[0]])
        self.ties += gap <= TIE
        self.largest_gap = max(self.largest_gap, gap)


def _with_end(answer: Response) -> list[int]:
    return [*answer.tokens, *([END] if answer.finish == "stop" else [])]


@torch.no_grad()
def _gap(pruned: Any, ends: Collection[int], ids: list[int], tokens: tuple[int, int]) -> float:
    """The difference between the logits of two tokens after a text."""
    logits = pruned(torch.tensor([ids], device=pruned.device), use_cache=False).logits[0, -1].float()
    first, second = (logits[sorted(ends)].max() if token == END else logits[token] for token in tokens)
    return abs(float(first - second))


@dataclass(frozen=True)
class Work:
    """Number of single-layer variants and of prompts, tokens per answer, and the folder with the benchmark files."""

    variants: int
    prompts: int
    new_tokens: int
    data_dir: Path | None


def compare(model: str, dtype: str, work: Work) -> dict[str, Any]:
    """The differences of a model in a number type; the variants are at equal distances."""
    loaded = load(model, dtype=dtype)
    samples = choose(["gsm8k"])[0].samples("evaluate", work.prompts, work.data_dir)
    prompts = [encode(loaded.tokenizer, sample).ids for sample in samples]
    count = min(work.variants, loaded.depth)
    removed = [(place * loaded.depth // count,) for place in range(count)]
    columns = SweepEngine(loaded.model, loaded.tokenizer).generate(removed, prompts, work.new_tokens)
    sweep, batch = Differences(), Differences()
    for variant, together in zip(removed, columns, strict=True):
        pruned = copy.deepcopy(loaded.model)
        remove(pruned, variant)
        engine, ends = TransformersEngine(pruned, loaded.tokenizer), end_tokens(pruned, loaded.tokenizer)
        alone = [engine.generate_batch([prompt], work.new_tokens)[0] for prompt in prompts]
        for differences, answers in ((sweep, together), (batch, engine.generate_batch(prompts, work.new_tokens))):
            for prompt, stock, other in zip(prompts, alone, answers, strict=True):
                differences.add(pruned, ends, prompt, stock, other)
    return {
        "model": Path(model).name,
        "dtype": loaded.ref.dtype,
        "device": str(loaded.model.device),
        "torch": torch.__version__,
        "variants": count,
        "prompts": len(prompts),
        "new_tokens": work.new_tokens,
        "sweep": asdict(sweep),
        "padded_batch": asdict(batch),
    }


def show(row: dict[str, Any]) -> None:
    """Print a row."""
    print(f"{row['model']}, {row['dtype']}: {row['variants']} variants x {row['prompts']} prompts", flush=True)
    for name, title in (("sweep", "sweep engine"), ("padded_batch", "stock, padded batch")):
        seen = row[name]
        print(
            f"  {title}: {seen['different_answers']} of {seen['answers']} answers and {seen['different_tokens']} of "
            f"{seen['tokens']} tokens differ; {seen['ties']} ties, largest gap {seen['largest_gap']:.2g}",
            flush=True,
        )


def write(row: dict[str, Any], file: Path) -> None:
    """Add a row to a file; it replaces one of the same model, number type, device and amount of work."""
    rows = json.loads(file.read_text()) if file.exists() else []
    key = ("model", "dtype", "device", "variants", "prompts", "new_tokens")
    rows = [before for before in rows if any(before[name] != row[name] for name in key)]
    file.write_text(json.dumps([*rows, row], indent=1) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder, Hub id or `reference`")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--variants", type=int, default=8)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    work = Work(given.variants, given.prompts, given.new_tokens, given.data_dir)
    for dtype in given.dtypes.split(","):
        row = compare(given.model, dtype, work)
        show(row)
        write(row, given.out)


if __name__ == "__main__":
    main()
