"""Tasks that measure the perplexity of texts, one item per document."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import fsum
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.foreign import read_text
from layerlimits.paths import given_path
from layerlimits.tasks._data import Row, check_columns, from_hub, read_files
from layerlimits.tasks._files import SUFFIXES, Part, Stamp, files_of, stamp
from layerlimits.types import Response, Sample, Split, Task, Verdict, Window

# Tokens that are read at a time, and that a window adds to the one before it.
WINDOW = Window(1024, 512)
_PLAIN_SUFFIXES = (".txt", ".md")
_TABLE_SUFFIXES = (*SUFFIXES, ".json.gz")
_MOST_TEXT_BYTES = 1 << 30
# Columns that contain the text of a document, in this order.
_COLUMNS = ("text", "document")
_NUMBER = re.compile("[0-9]{1,7}")

# (data folder or None) -> the documents, in order.
Documents = Callable[[Path | None], Sequence[str]]


@dataclass(frozen=True)
class Texts:
    """The documents of a task, called like `Task.samples`. All of them are of the `evaluate` split.

    Args:
        name: Name of the task.
        documents: Reads them.
        window: How they are read.
    """

    name: str
    documents: Documents
    window: Window = WINDOW

    def __call__(self, split: Split, limit: int, data_dir: Path | None = None) -> list[Sample]:
        """The first `limit` distinct documents that are not blank; none for splits other than `evaluate`.

        Raises:
            UserError: The documents cannot be read, or fewer than two are measured: an interval requires two.
        """
        if split != "evaluate":
            return []
        samples = self.whole(data_dir)[:limit]
        if len(samples) < 2:
            raise UserError(
                f"{self.name} has {len(samples)} of the 2 documents that an interval requires (--limit {limit})",
                "raise --limit, or use a folder of files, or a .jsonl file with one text per line",
            )
        return samples

    def whole(self, data_dir: Path | None = None) -> list[Sample]:
        """All distinct documents that are not blank."""
        texts = dict.fromkeys(text for text in self.documents(data_dir) if text.strip())
        return [Sample(text, "", "evaluate", window=self.window) for text in texts]


def text_task(name: str, documents: Documents, summary: str) -> Task:
    """A task that measures the perplexity of documents. `NAME:window=2048:stride=1024` sets how they are read."""
    return Task(
        name=name,
        version=1,
        kind="text",
        samples=Texts(name, documents),
        score=_score,
        metric="perplexity",
        summary=summary,
        chat=False,
        configure=lambda task, options: configured(task, options, documents),
    )


def _score(sample: Sample, response: Response) -> Verdict:
    return Verdict("measured", -fsum(response.logprobs))


def configured(task: Task, options: Mapping[str, str], documents: Documents) -> Task:
    """The task with another window; its name says so.

    Raises:
        UserError: An option is unknown or not a number, or the stride is longer than the window.
    """
    values = {"window": WINDOW.length, "stride": 0}
    for option, value in options.items():
        if option not in values or not _NUMBER.fullmatch(value):
            fix = f"use {task.name}:window=1024:stride=512"
            raise UserError(f"invalid option {option}={value} of {task.name}", fix)
        values[option] = int(value)
    length = values["window"]
    stride = values["stride"] if "stride" in options else max(1, length // 2)
    if not 1 <= stride <= length:
        raise UserError(
            f"the stride of {task.name} is {stride}, with a window of {length} tokens",
            f"set the stride to a number from 1 to the window, as in {task.name}:window=1024:stride=512",
        )
    window = Window(length, stride)
    name = task.name if window == WINDOW else f"{task.name}:window={length}:stride={stride}"
    return replace(task, name=name, samples=Texts(name, documents, window))


@dataclass(frozen=True)
class Corpus:
    """Documents of a dataset, from files or the hub.

    Args:
        folder: Name of its folder in the data folder.
        hub: Dataset id on the hub.
        part: The file; its column `text` has the texts.
        split: Makes documents of the texts in file order.
    """

    folder: str
    hub: str
    part: Part
    split: Callable[[Sequence[str]], Sequence[str]] = list

    def __call__(self, data_dir: Path | None) -> Sequence[str]:
        """The documents.

        Raises:
            UserError: A file is missing or invalid, or the hub cannot be reached.
        """
        if data_dir is None:
            return _of_corpus(self, (), ())
        files = files_of(data_dir, self.folder, self.hub, self.part)
        return _of_corpus(self, files, stamp(files))


@lru_cache(maxsize=8)
def _of_corpus(corpus: Corpus, files: tuple[Path, ...], changed: Stamp) -> Sequence[str]:
    where, rows = read_files(files) if files else from_hub(corpus.hub, corpus.part)
    check_columns(where, rows, ("text",))
    return corpus.split([row["text"] for row in rows])


def documents_of(path: Path, column: str | None = None) -> Sequence[str]:
    """The documents of a file or folder: plain text files are one each, and rows of other files are one each.

    Args:
        path: A file, or a folder whose files are read in the order of their paths.
        column: Column of the texts; `text` or `document` if None.

    Raises:
        UserError: There is no such file or no text in the folder, a file is invalid, or a column is missing.
    """
    suffixes = (*_PLAIN_SUFFIXES, *_TABLE_SUFFIXES)
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.is_file() and file.name.endswith(suffixes)]
        files = tuple(sorted(file for file in found if not file.name.startswith(".")))
    else:
        files = (path,) if path.is_file() and path.name.endswith(suffixes) else ()
    if not files:
        raise UserError(f"{path} is not a file or folder of texts", f"give one with files {', '.join(suffixes)}")
    return _of_files(files, stamp(files), column)


@lru_cache(maxsize=8)
def _of_files(files: tuple[Path, ...], changed: Stamp, column: str | None) -> Sequence[str]:
    return [text for file in files for text in _texts_in(file, column)]


def _texts_in(file: Path, column: str | None) -> Iterator[str]:
    if file.name.endswith(_PLAIN_SUFFIXES):
        yield read_text(file, _MOST_TEXT_BYTES, "divide it into several files")
        return
    where, rows = read_files([file])
    for number, row in enumerate(rows, 1):
        yield _text_of(row, column, f"{where}, item {number}")


def _text_of(row: Row, column: str | None, where: str) -> str:
    names = (column,) if column else _COLUMNS
    text = next((row[name] for name in names if name in row), None)
    if not isinstance(text, str):
        raise UserError(
            f"{where} has no text in a column {' or '.join(names)}: it has {json.dumps(list(row))[:200]}",
            "name the column of the texts, as in texts:path=FILE:column=text",
        )
    return text


def local_documents(options: Mapping[str, str]) -> Documents:
    """Reads the documents of the task `texts`: of the option `path`, or of the folder `texts` in the data folder."""
    path, column = options.get("path"), options.get("column")

    def documents(data_dir: Path | None) -> Sequence[str]:
        if path is not None:
            return documents_of(given_path(path, "the texts (texts:path=...)"), column)
        if data_dir is None:
            raise UserError(
                "the task texts has no texts",
                "name a file or folder, as in texts:path=DIR, or set --data-dir to the folder that contains texts/",
            )
        return documents_of(data_dir / "texts", column)

    return documents
