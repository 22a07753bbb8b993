"""Tokens a second of self-generated answers, compared with one prompt at a time by `generate` of transformers.

    python bench/answering.py MODEL --data-dir D [--items 32] [--max-new-tokens 256] [--repeats 1] [--json]

Both answer the same GSM8K training prompts greedily in the same number type, in turn. Ours includes storing them.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from layerlimits.engines.transformers import TransformersEngine
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded, load
from layerlimits.recovery.answers import AnswerFilter, generate_answers, self_generated
from layerlimits.recovery.data import training_prompts
from layerlimits.tasks import choose
from layerlimits.types import Sample

# Self-generation must be this many times as fast.
GOAL = 3.0


def ours(loaded: Loaded, samples: list[Sample], longest: int, folder: Path) -> tuple[int, float]:
    """Tokens and seconds of `generate_answers`."""
    with Store(folder) as store:
        began = time.perf_counter()
        answers = generate_answers(Evaluator(loaded, store), samples, longest, kept=AnswerFilter(keep_truncated=True))
        return sum(example.tokens for example in answers.examples), time.perf_counter() - began


def stock(loaded: Loaded, samples: list[Sample], longest: int, folder: Path) -> tuple[int, float]:
    """Tokens and seconds of `generate`, one prompt at a time."""
    task, engine = self_generated(longest), TransformersEngine(loaded.model, loaded.tokenizer)
    with Store(folder) as store:
        prompts = [list(Evaluator(loaded, store).prompt(task, sample).ids) for sample in samples]
    began = time.perf_counter()
    tokens = sum(len(engine.generate_batch([prompt], longest)[0].tokens) for prompt in prompts)
    return tokens, time.perf_counter() - began


def main() -> None:
    """Measure, and print the rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    loaded = load(asked.model, dtype=asked.dtype)
    samples = training_prompts(choose(["gsm8k"]), asked.items, asked.data_dir)
    rates: dict[str, list[float]] = {"ours": [], "stock": []}
    with tempfile.TemporaryDirectory() as place:
        for repeat in range(asked.repeats):
            for name, way in (("ours", ours), ("stock", stock)):
                tokens, seconds = way(loaded, samples, asked.max_new_tokens, Path(place) / f"{name}-{repeat}")
                rates[name].append(tokens / seconds)
    ratio = statistics.median(mine / other for mine, other in zip(rates["ours"], rates["stock"], strict=True))
    if asked.json:
        print(json.dumps({"model": asked.model, "dtype": loaded.ref.dtype, "tokens_per_s": rates, "ratio": ratio}))
    else:
        medians = ", ".join(f"{name} {statistics.median(values):.0f} tokens/s" for name, values in rates.items())
        print(f"{asked.items} prompts, {loaded.ref.dtype}: {medians}; ratio {ratio:.2f}")
    raise SystemExit(ratio < GOAL)


if __name__ == "__main__":
    main()
