"""The loss is on the response and nothing else, for the chat templates of many model families."""

import random
from pathlib import Path

import pytest
import trl
from small_models import small_llama

from layerlimits.evaluation.prompts import encode
from layerlimits.recovery.data import Example
from layerlimits.recovery.packing import packed
from layerlimits.recovery.rows import IGNORED, end_of_turn, to_rows
from layerlimits.reference.tokenizer import build
from layerlimits.types import Sample

# Templates that come with TRL, of models for text.
TEMPLATES = Path(trl.__file__).parent / "chat_templates"
FAMILIES = (
    "cohere",
    "cohere2",
    "deepseek_r1_distill",
    "deepseekv3",
    "gemma",
    "gemma3",
    "glm4moe",
    "gptoss",
    "lfm2",
    "llama3",
    "llama3_1",
    "llama3_2",
    "nemotron_3_nano",
    "phi3",
    "phi3_5",
    "qwen2_5",
    "qwen3",
    "qwen3_5_nothink",
    "qwen3_instruct_2507",
)
_CHARACTERS = "abc xyz 0123456789 .,:;?!+-*/=()[]{}<>#'\"\n"


def items(count: int, seed: str) -> list[tuple[str, str]]:
    """Random prompts and answers; answers begin and end with a letter, which no template trims."""
    rng = random.Random(seed)

    def text(longest: int) -> str:
        return "".join(rng.choices(_CHARACTERS, k=rng.randint(1, longest)))

    return [(f"q{text(60)}q", f"r{text(40)}r") for _ in range(count)]


@pytest.mark.parametrize("family", ["reference", "plain text", *FAMILIES])
def test_decoded_labels_are_the_response_and_its_end(family: str) -> None:
    tokenizer = build()
    if family == "plain text":
        tokenizer.chat_template = None
    elif family != "reference":
        tokenizer.chat_template = (TEMPLATES / f"{family}.jinja").read_text()
    end = end_of_turn(small_llama(1), tokenizer)
    pairs = items(20, family)
    examples = [
        Example(tuple(encode(tokenizer, Sample(question, "", "train")).ids), answer, 1) for question, answer in pairs
    ]
    rows = to_rows(tokenizer, end, examples, 10_000)
    for (question, answer), row in zip(pairs, rows, strict=True):
        trained = [label for label in row["labels"] if label != IGNORED]
        assert tokenizer.decode(trained) == answer + tokenizer.decode([end])
        # The labels are the last tokens that the model reads, and the question is before them.
        assert row["input_ids"][-len(trained) :] == trained
        assert question in tokenizer.decode(row["input_ids"][: -len(trained)])
    blocks = packed(rows, 2 * max(len(row["labels"]) for row in rows))
    assert len(blocks) < len(rows)
    for block in blocks:
        places = [place for place, label in enumerate(block["labels"]) if label != IGNORED]
        assert all(block["labels"][place] == block["input_ids"][place] for place in places)
    together = sorted(label for block in blocks for label in block["labels"])
    assert together == sorted(label for row in rows for label in row["labels"])
