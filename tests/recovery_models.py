"""What the tests of recovery share: examples, settings, small helpers."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from layerlimits.evaluation.prompts import encode
from layerlimits.recovery.data import Example
from layerlimits.recovery.rows import IGNORED
from layerlimits.recovery.settings import FinetuneConfig
from layerlimits.reference.tokenizer import build
from layerlimits.types import Sample, Task, Verdict

WORDS = ["red", "green", "blue", "pink", "gold", "grey"]
QUESTIONS = [f"colour {n}?" for n in range(len(WORDS))]


def example(question: str, answer: str) -> Example:
    """The answer to a question in the reference tokenizer's template."""
    ids = encode(build(), Sample(question, "", "train")).ids
    return Example(tuple(ids), answer, len(answer))


EXAMPLES = [example(question, word) for question, word in zip(QUESTIONS, WORDS, strict=True)]
QUICK = FinetuneConfig(kind="full", lr=5e-3, epochs=4, batch_size=2, warmup_steps=2)
QUICK_LORA = replace(QUICK, kind="lora", lora_rank=4, lora_dropout=0.2)
# Long enough to be killed in the middle.
SLOW = replace(QUICK, epochs=40)
LEARNING = FinetuneConfig(kind="full", lr=1e-2, epochs=60, batch_size=6, warmup_steps=5)


def listed(name: str, train: list[Sample], evaluated: tuple[Sample, ...] = ()) -> Task:
    splits = {"train": train, "evaluate": list(evaluated)}
    return Task(
        name, 1, "generation", lambda split, limit, _: splits[split][:limit], lambda *_: Verdict("correct", 1.0), 8
    )


def prompts(*texts: str) -> list[Sample]:
    return [Sample(text, "", "train") for text in texts]


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def stop_at(step: int) -> Any:
    def tick(done: int, total: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    return tick


@torch.no_grad()
def answer_loss(model: Any, row: Any) -> torch.Tensor:
    logits = model(torch.tensor([row["input_ids"]])).logits[0, :-1]
    return cross_entropy(logits, torch.tensor(row["labels"][1:]), ignore_index=IGNORED)
