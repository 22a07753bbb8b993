"""Calibration text: what methods that look at activations run through the model. Its items never evaluate."""

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
# A file read by us; whatever else is named is a data set.
_FILES = (".jsonl", ".txt", ".md")


@dataclass(frozen=True)
class Calibration:
    """Texts as token ids, the content hash of each, where they come from, and the texts as they were written.

    `starts` gives the first token of each text that a model is to predict, where that is not the second: in a
    conversation the question is given, and a model that never learned to ask finds it arbitrarily unlikely.
    """

    ids: tuple[tuple[int, ...], ...]
    hashes: tuple[str, ...]
    source: str
    starts: tuple[int, ...] = ()
    written: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[Text, ...]:
        """The texts as losses read them."""
        return tuple(map(Text, self.ids, self.starts or [1] * len(self.ids)))


def calibration(
    tokenizer: PreTrainedTokenizerBase, items: int, source: str | Path | None = None, max_tokens: int = 512
) -> Calibration:
    """`items` texts of a file, of a data set, or of the calibrate split of the bundled world as conversations.

    Args:
        source: a file: `.jsonl` with a "text" (or "prompt" and "response") a line, or plain text with blank lines
            between items; or a data set, a hub id or folder, as "id", "id:split" or "id:configuration:split", of which
            the column "text" (or "prompt" and "response") is read, from the split "train" if none is named.
        max_tokens: longer texts are cut.
    Raises:
        UserError: the file or data set is missing, empty or of another form.
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
    """The texts that `calibration` would encode, a question and its answer on lines of their own.

    Raises:
        UserError: as `calibration`.
    """
    return tuple(map(_written, _pairs(items, source)))


def _written(pair: tuple[str, str]) -> str:
    return "\n".join(part for part in pair if part)


def _pairs(items: int, source: str | Path | None) -> list[tuple[str, str]]:
    if source is None:
        return _from_world(items)
    file = given_path(source, "--calibration")
    if file.is_file() or file.suffix in _FILES:
        return _from_file(file)[:items]
    return _from_dataset(str(source), items)


def _from_world(items: int) -> list[tuple[str, str]]:
    """Questions with their answers, the tasks in turn."""
    tasks = choose(["reference"])
    share = -(-items // len(tasks))
    columns = [task.samples("calibrate", share, None) for task in tasks]
    turns = [column[turn] for turn in range(share) for column in columns if turn < len(column)]
    return [(sample.prompt, sample.target) for sample in turns[:items]]


def _from_file(file: Path) -> list[tuple[str, str]]:
    if file.suffix == ".jsonl":
        found = [_line(file, number, row) for number, row in jsonl.rows(file)]
    else:
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"calibration text {file} cannot be read: {error}", "give a text or .jsonl file") from None
        found = [(part.strip(), "") for part in text.split("\n\n") if part.strip()]
    if not found:
        raise UserError(f"calibration text {file} is empty", "give a file with at least one item")
    return found


def _line(file: Path, number: int, row: jsonl.Row) -> tuple[str, str]:
    try:
        return _pair(row)
    except (KeyError, TypeError):
        raise UserError(
            f"{file}, line {number}: no calibration item", 'write {"text": ...} or {"prompt": ..., "response": ...}'
        ) from None


def _from_dataset(source: str, items: int) -> list[tuple[str, str]]:
    """The first texts of a data set that are not blank, read as a stream: a corpus is not downloaded whole."""
    from datasets import load_dataset

    name, *more = source.split(":")
    split, configuration = (more[-1] if more else "train"), (more[0] if len(more) > 1 else None)
    found = []
    try:
        for row in load_dataset(name, configuration, split=split, streaming=True):
            pair = _pair(row)
            if pair[0].strip():
                found.append(pair)
            if len(found) == items:
                break
    except KeyError:
        raise UserError(
            f"data set {source} has no column text, nor prompt and response: it has {', '.join(row)}",
            "name a data set that has, or write its texts to a .jsonl file",
        ) from None
    # `datasets` raises errors of many kinds for what cannot be found or read.
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"calibration data set {source} cannot be read: {reason}",
            "give id:split or id:configuration:split, a folder of data files, or a local .txt or .jsonl file",
        ) from None
    if not found:
        raise UserError(f"calibration data set {source} is empty", "name a split that has texts")
    return found


def _pair(item: Any) -> tuple[str, str]:
    """The two parts of an item.

    Raises:
        KeyError, TypeError: it has not the keys, or something else than texts there.
    """
    pair = (item["text"], "") if "text" in item else (item["prompt"], item["response"])
    for part in pair:
        if not isinstance(part, str):
            raise TypeError(f"an item holds {type(part).__name__}, not a text")
    return pair


def _encode(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str) -> tuple[tuple[int, ...], int]:
    """Token ids, and the first of them that is to be predicted: the answer's, or the second of a plain text."""
    if not answer:
        return tuple(tokenizer(prompt)["input_ids"]), 1
    if tokenizer.chat_template:
        question = [{"role": "user", "content": prompt}]
        talk = [*question, {"role": "assistant", "content": answer}]
        whole: Any = tokenizer.apply_chat_template(talk, return_dict=True)
        given: Any = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=True)
    else:
        whole, given = tokenizer(f"{prompt}\n{answer}"), tokenizer(f"{prompt}\n")
    # The token on the border may differ where the answer follows: what is common to both was given.
    pairs = zip(whole["input_ids"], given["input_ids"], strict=False)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return tuple(whole["input_ids"]), max(1, common)
