"""Calibration text, which methods run through the model to observe activations. Its items are never evaluated."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile, zip_longest
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from layerlimits import jsonl
from layerlimits.chat import rendering
from layerlimits.errors import UserError
from layerlimits.evaluation.leaks import EvaluatedQuestions, items_to_compare
from layerlimits.foreign import read_text
from layerlimits.hub import first_rows
from layerlimits.paths import given_path
from layerlimits.tasks import choose
from layerlimits.types import Split, Task, Text, content_hash

WORLD = "the bundled world"
# Suffixes of files; any other name is a dataset.
_FILES = (".jsonl", ".txt", ".md")
WIKITEXT = "Salesforce/wikitext:wikitext-2-raw-v1:train"
_MOST_TEXT_BYTES = 1 << 30
# Shorter lines of WikiText are headings and blank lines.
_MIN_CHARACTERS = 100
_FIX_DATASET = "use id:split or id:configuration:split, a folder of data files, or a local .txt or .jsonl file"

# A question or text, and its answer, empty for a text.
Pair = tuple[str, str]
# Token ids, and the index of the first token whose prediction counts.
Encoded = tuple[tuple[int, ...], int]


@dataclass(frozen=True)
class Calibration:
    """Texts as token ids, the content hash of each, their source, and the original texts.

    `starts` is the index of the first token of each text whose prediction counts. In a conversation that is the first
    token of the answer: a model that was not trained to generate questions can give them any likelihood. `wanted` is
    the number of texts that were asked for.
    """

    ids: tuple[tuple[int, ...], ...]
    hashes: tuple[str, ...]
    source: str
    starts: tuple[int, ...] = ()
    written: tuple[str, ...] = ()
    wanted: int = 0

    @property
    def shortage(self) -> str:
        """A sentence if there are fewer texts than were asked for; empty otherwise."""
        if len(self.ids) >= self.wanted:
            return ""
        count = "1 calibration text" if len(self.ids) == 1 else f"{len(self.ids)} calibration texts"
        return f"{count} instead of {self.wanted}: {self.source} has no more"

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
    encoded = [_encode(tokenizer, prompt, answer) for prompt, answer in pairs]
    return _calibration(pairs, encoded, str(source) if source else WORLD, max_tokens, items)


def _calibration(
    pairs: Sequence[Pair], encoded: Sequence[Encoded], source: str, max_tokens: int, items: int
) -> Calibration:
    return Calibration(
        tuple(ids[:max_tokens] for ids, _ in encoded),
        tuple(content_hash(prompt) for prompt, _ in pairs),
        source,
        tuple(start for _, start in encoded),
        tuple(map(_written, pairs)),
        items,
    )


def default_calibration(
    tokenizer: PreTrainedTokenizerBase,
    items: int,
    tasks: Sequence[Task],
    data_dir: Path | None = None,
    max_tokens: int = 512,
) -> Calibration:
    """The default texts for a model other than the bundled one; `source` says which they are.

    Without a data folder, they are the first paragraphs of at least 100 characters of WikiText-2 (Merity et al., arXiv
    1609.07843). With one, or if the hub cannot be reached, they are questions of the tasks with their answers, in turn
    over the tasks: of the calibrate splits, and if these are too small, of the train and then the select splits. Items
    that contain an evaluated question of any of the tasks are left out.

    Args:
        items: Number of texts; fewer if there are not so many.
        tasks: The tasks that will be evaluated.
        data_dir: Folder of benchmark files; the hub if None.
        max_tokens: Longer texts are truncated; conversations with a longer question are left out.

    Raises:
        UserError: There is no text, or the items of a task cannot be read.
    """
    why = "it is not in --data-dir"
    if data_dir is None:
        try:
            texts = first_rows(WIKITEXT, items, _paragraph, _FIX_DATASET)
            return _calibration(texts, [_encode(tokenizer, *text) for text in texts], WIKITEXT, max_tokens, items)
        except UserError as error:
            why = error.problem
    encoded = ((pair, _encode(tokenizer, *pair)) for pair in _from_tasks(tasks, items, data_dir))
    fitting = ((pair, (ids, start)) for pair, (ids, start) in encoded if start < min(len(ids), max_tokens))
    first = list(islice(fitting, items))
    names = ", ".join(task.name for task in tasks) or "none given"
    if not first:
        raise UserError(
            f"there is no calibration text: WikiText-2 cannot be read ({why}), and all items of the tasks ({names}) "
            "are evaluated or too long",
            "set --calibration to a .txt or .jsonl file",
        )
    pairs, encodings = zip(*first, strict=True)
    return _calibration(pairs, encodings, f"items that are not evaluated, of {names}", max_tokens, items)


def _written(pair: Pair) -> str:
    return "\n".join(part for part in pair if part)


def _pairs(items: int, source: str | Path | None) -> list[Pair]:
    if source is None:
        return _from_world(items)
    file = given_path(source, "the calibration file (--calibration)")
    if file.is_file() or file.suffix in _FILES:
        return _from_file(file)[:items]
    return _from_dataset(str(source), items)


def _from_world(items: int) -> list[Pair]:
    """Questions with their answers, alternating between the tasks."""
    tasks = choose(["reference"])
    share = -(-items // len(tasks))
    columns = [task.samples("calibrate", share, None) for task in tasks]
    turns = [column[turn] for turn in range(share) for column in columns if turn < len(column)]
    return [(sample.prompt, sample.target) for sample in turns[:items]]


def _from_file(file: Path) -> list[Pair]:
    if file.suffix == ".jsonl":
        pairs = [_line(file, number, row) for number, row in jsonl.rows(file)]
    else:
        text = read_text(file, _MOST_TEXT_BYTES, "use a text or .jsonl file with fewer texts")
        pairs = [(part.strip(), "") for part in text.split("\n\n") if part.strip()]
    if not pairs:
        raise UserError(f"calibration text {file} is empty", "use a file with at least one item")
    return pairs


def _line(file: Path, number: int, row: jsonl.Row) -> Pair:
    try:
        return _pair(row)
    except (KeyError, TypeError):
        raise UserError(
            f"{file}, line {number}: not a calibration item",
            'use {"text": ...} or {"prompt": ..., "response": ...}',
        ) from None


def _from_dataset(source: str, items: int) -> list[Pair]:
    """The first texts of a dataset that are not blank. They are streamed, so the whole corpus is not downloaded."""

    def pick(row: jsonl.Row) -> Pair | None:
        try:
            pair = _pair(row)
        except KeyError:
            raise UserError(
                f"dataset {source} has neither a column text nor columns prompt and response; it has {', '.join(row)}",
                "use another dataset, or write its texts to a .jsonl file",
            ) from None
        except TypeError as error:
            raise UserError(f"dataset {source}: {error}", "use a dataset of texts") from None
        return pair if pair[0].strip() else None

    pairs = first_rows(source, items, pick, _FIX_DATASET)
    if not pairs:
        raise UserError(f"calibration dataset {source} is empty", "use a split that has texts")
    return pairs


def _paragraph(row: jsonl.Row) -> Pair | None:
    """A paragraph of WikiText, without its headings and blank lines."""
    text = row["text"].strip()
    return (text, "") if len(text) >= _MIN_CHARACTERS else None


def _from_tasks(tasks: Sequence[Task], items: int, data_dir: Path | None) -> Iterator[Pair]:
    """Questions and answers of the items that are not evaluated, in turn over the tasks, split by split."""
    # Examples would be part of the questions.
    plain = [task.variant(0, False) if task.variant and task.shots else task for task in tasks]
    evaluated = EvaluatedQuestions(sample.question for sample in items_to_compare(tasks, data_dir))
    seen: set[str] = set()
    splits: tuple[Split, ...] = ("calibrate", "train", "select")
    for split in splits:
        for turn in zip_longest(*(task.samples(split, items, data_dir) for task in plain)):
            for sample in turn:
                if sample is None or sample.id in seen:
                    continue
                seen.add(sample.id)
                pair = (sample.prompt, sample.target if sample.choices else sample.shown or sample.target)
                if evaluated.first_in(_written(pair)) is None and all(part.strip() for part in pair):
                    yield pair


def _pair(item: Any) -> Pair:
    """The two parts of an item.

    Raises:
        KeyError, TypeError: the keys are missing, or their values are not strings.
    """
    pair = (item["text"], "") if "text" in item else (item["prompt"], item["response"])
    for part in pair:
        if not isinstance(part, str):
            raise TypeError(f"an item has a {type(part).__name__}, not a string")
    return pair


def _encode(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str) -> Encoded:
    """Token ids, and the index of the first token whose prediction counts: in plain text the second token."""
    if not answer:
        return tuple(tokenizer(prompt)["input_ids"]), 1
    if tokenizer.chat_template:
        question = [{"role": "user", "content": prompt}]
        conversation = [*question, {"role": "assistant", "content": answer}]
        with rendering(tokenizer):
            whole: Any = tokenizer.apply_chat_template(conversation, return_dict=True)
            given: Any = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=True)
    else:
        whole, given = tokenizer(f"{prompt}\n{answer}"), tokenizer(f"{prompt}\n")
    # The token at the border can depend on the answer: the common prefix is the question.
    pairs = zip(whole["input_ids"], given["input_ids"], strict=False)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return tuple(whole["input_ids"]), max(1, common)
