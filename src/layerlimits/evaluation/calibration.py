"""Calibration text, which methods run through the model to observe activations. Its items are never evaluated."""

from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from layerlimits import jsonl
from layerlimits.errors import UserError
from layerlimits.paths import given_path
from layerlimits.tasks import choose
from layerlimits.types import Text, content_hash

WORLD = "the bundled world"
# Suffixes of files; any other name is a dataset.
_FILES = (".jsonl", ".txt", ".md")


@dataclass(frozen=True)
class Calibration:
    """Texts as token ids, the content hash of each, their source, and the original texts.

    `starts` is the index of the first token of each text whose prediction counts. In a conversation that is the first
    token of the answer: a model that was not trained to generate questions can give them any likelihood.
    """

    ids: tuple[tuple[int, ...], ...]
    hashes: tuple[str, ...]
    source: str
    starts: tuple[int, ...] = ()
    written: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[Text, ...]:
        """The texts with the tokens that count in losses."""
        return tuple(map(Text, self.ids, self.starts or [1] * len(self.ids)))


def calibration(
    tokenizer: PreTrainedTokenizerBase, items: int, source: str | Path | None = None, max_tokens: int = 512
) -> Calibration:
    """Read `items` texts from a file, from a dataset, or from the calibrate split of the bundled tasks.

    Args:
        source: None for the bundled tasks (as conversations); a `.jsonl` file with "text", or "prompt" and "response",
            per line; a plain text file with blank lines between items; or a dataset, a hub id or folder, as "id",
            "id:split" or "id:configuration:split", with a column "text", or columns "prompt" and "response". The
            default split is "train".
        max_tokens: longer texts are truncated.
    Raises:
        UserError: the file or dataset is missing, empty or in another format.
    """
    pairs = _pairs(items, source)
    written = tuple(map(_written, pairs))
    encoded = [_encode(tokenizer, prompt, answer) for prompt, answer in pairs]
    return Calibration(
        tuple(ids[:max_tokens] for ids, _ in encoded),
        tuple(content_hash(prompt) for prompt, _ in pairs),
        str(source) if source else WORLD,
        tuple(start for _, start in encoded),
        written,
    )


def written_texts(items: int, source: str | Path | None = None) -> tuple[str, ...]:
    """The texts that `calibration` would encode, question and answer on separate lines.

    Raises:
        UserError: see `calibration`.
    """
    return tuple(map(_written, _pairs(items, source)))


def _written(pair: tuple[str, str]) -> str:
    return "\n".join(part for part in pair if part)


def _pairs(items: int, source: str | Path | None) -> list[tuple[str, str]]:
    if source is None:
        return _from_world(items)
    file = given_path(source, "the calibration file (--calibration)")
    if file.is_file() or file.suffix in _FILES:
        return _from_file(file)[:items]
    return _from_dataset(str(source), items)


def _from_world(items: int) -> list[tuple[str, str]]:
    """Questions with their answers, alternating between the tasks."""
    tasks = choose(["reference"])
    share = -(-items // len(tasks))
    columns = [task.samples("calibrate", share, None) for task in tasks]
    turns = [column[turn] for turn in range(share) for column in columns if turn < len(column)]
    return [(sample.prompt, sample.target) for sample in turns[:items]]


def _from_file(file: Path) -> list[tuple[str, str]]:
    if file.suffix == ".jsonl":
        pairs = [_line(file, number, row) for number, row in jsonl.rows(file)]
    else:
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read calibration text {file}: {error}", "use a text or .jsonl file") from None
        pairs = [(part.strip(), "") for part in text.split("\n\n") if part.strip()]
    if not pairs:
        raise UserError(f"calibration text {file} is empty", "use a file with at least one item")
    return pairs


def _line(file: Path, number: int, row: jsonl.Row) -> tuple[str, str]:
    try:
        return _pair(row)
    except (KeyError, TypeError):
        raise UserError(
            f"{file}, line {number}: not a calibration item",
            'use {"text": ...} or {"prompt": ..., "response": ...}',
        ) from None


def _from_dataset(source: str, items: int) -> list[tuple[str, str]]:
    """The first texts of a dataset that are not blank. They are streamed, so the whole corpus is not downloaded."""
    from datasets import load_dataset

    name, *more = source.split(":")
    split, configuration = (more[-1] if more else "train"), (more[0] if len(more) > 1 else None)
    pairs = []
    try:
        for row in load_dataset(name, configuration, split=split, streaming=True):
            pair = _pair(row)
            if pair[0].strip():
                pairs.append(pair)
            if len(pairs) == items:
                break
    except KeyError:
        raise UserError(
            f"dataset {source} has neither a column text nor columns prompt and response; it has {', '.join(row)}",
            "use another dataset, or write its texts to a .jsonl file",
        ) from None
    # `datasets` raises errors of many kinds for datasets that are missing or unreadable.
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"cannot read calibration dataset {source}: {reason}",
            "use id:split or id:configuration:split, a folder of data files, or a local .txt or .jsonl file",
        ) from None
    if not pairs:
        raise UserError(f"calibration dataset {source} is empty", "use a split that has texts")
    return pairs


def _pair(item: Any) -> tuple[str, str]:
    """The two parts of an item.

    Raises:
        KeyError, TypeError: the keys are missing, or their values are not strings.
    """
    pair = (item["text"], "") if "text" in item else (item["prompt"], item["response"])
    for part in pair:
        if not isinstance(part, str):
            raise TypeError(f"an item has a {type(part).__name__}, not a string")
    return pair


def _encode(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str) -> tuple[tuple[int, ...], int]:
    """Token ids, and the index of the first token whose prediction counts: in plain text the second token."""
    if not answer:
        return tuple(tokenizer(prompt)["input_ids"]), 1
    if tokenizer.chat_template:
        question = [{"role": "user", "content": prompt}]
        conversation = [*question, {"role": "assistant", "content": answer}]
        whole: Any = tokenizer.apply_chat_template(conversation, return_dict=True)
        given: Any = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=True)
    else:
        whole, given = tokenizer(f"{prompt}\n{answer}"), tokenizer(f"{prompt}\n")
    # The token at the border can depend on the answer: the common prefix is the question.
    pairs = zip(whole["input_ids"], given["input_ids"], strict=False)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return tuple(whole["input_ids"]), max(1, common)
