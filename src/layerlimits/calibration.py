"""Calibration text: what methods that look at activations run through the model. Its items never evaluate."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from layerlimits.errors import UserError
from layerlimits.tasks import choose
from layerlimits.types import content_hash

WORLD = "the bundled world"


@dataclass(frozen=True)
class Calibration:
    """Texts as token ids, the content hash of each, and where they come from."""

    ids: tuple[tuple[int, ...], ...]
    hashes: tuple[str, ...]
    source: str


def calibration(
    tokenizer: PreTrainedTokenizerBase, items: int, file: Path | None = None, max_tokens: int = 512
) -> Calibration:
    """`items` texts of a file, or of the calibrate split of the bundled world as conversations.

    Args:
        file: `.jsonl` with a "text" (or "prompt" and "response") a line, or plain text with blank lines between items.
        max_tokens: longer texts are cut.
    Raises:
        UserError: the file is missing, empty or of another form.
    """
    pairs = _from_world(items) if file is None else _from_file(file)[:items]
    ids = tuple(tuple(_encode(tokenizer, prompt, answer)[:max_tokens]) for prompt, answer in pairs)
    return Calibration(ids, tuple(content_hash(prompt) for prompt, _ in pairs), str(file) if file else WORLD)


def _from_world(items: int) -> list[tuple[str, str]]:
    """Questions with their answers, the tasks in turn."""
    tasks = choose(["reference"])
    share = -(-items // len(tasks))
    columns = [task.samples("calibrate", share, None) for task in tasks]
    turns = [column[turn] for turn in range(share) for column in columns if turn < len(column)]
    return [(sample.prompt, sample.target) for sample in turns[:items]]


def _from_file(file: Path) -> list[tuple[str, str]]:
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"calibration text {file} cannot be read: {error}", "give a text or .jsonl file") from None
    if file.suffix == ".jsonl":
        found = [_pair(file, number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    else:
        found = [(part.strip(), "") for part in text.split("\n\n") if part.strip()]
    if not found:
        raise UserError(f"calibration text {file} is empty", "give a file with at least one item")
    return found


def _pair(file: Path, number: int, line: str) -> tuple[str, str]:
    try:
        item = json.loads(line)
        return (item["text"], "") if "text" in item else (item["prompt"], item["response"])
    except (json.JSONDecodeError, KeyError, TypeError):
        raise UserError(
            f"{file}, line {number}: no calibration item", 'write {"text": ...} or {"prompt": ..., "response": ...}'
        ) from None


def _encode(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str) -> Sequence[int]:
    if answer and tokenizer.chat_template:
        talk = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        encoded: Any = tokenizer.apply_chat_template(talk, return_dict=True)
        return list(encoded["input_ids"])
    return list(tokenizer(f"{prompt}\n{answer}" if answer else prompt)["input_ids"])
