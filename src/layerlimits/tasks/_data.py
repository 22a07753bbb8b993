"""Tasks whose items come from a benchmark: a local folder with the hub's columns, or the hub itself."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from layerlimits.errors import UserError
from layerlimits.types import Sample, Split, content_hash

Row = dict[str, Any]

SUFFIXES = (".jsonl", ".json", ".parquet")

# Shares of the items, in thousandths, cut by the hash of the question. The first where the benchmark has training items
# of its own, the second where its test items are all there is.
_OF_TRAIN: tuple[tuple[Split, int], ...] = (("select", 80), ("calibrate", 50), ("train", 870))
_OF_TEST: tuple[tuple[Split, int], ...] = (("evaluate", 700), ("select", 100), ("calibrate", 50), ("train", 150))


@dataclass(frozen=True)
class Part:
    """One file of a benchmark, which is one split of one configuration on the hub.

    `file` is its name without the suffix, in the benchmark's folder; `split` is None where the hub lacks it.
    """

    file: str
    config: str | None
    split: str | None


@dataclass(frozen=True)
class Benchmark:
    """The items of a task, called with (split, limit, data folder or None) as `Task.samples` is.

    Splits are disjoint by the hash of the question and never change. Where the benchmark has a training file, its test
    file evaluates as a whole and the other splits are cut from the training items; where it has none, every split is
    cut from the test items, and `evaluate` keeps 70%. Of several files the items come in turn, so that a limit spares
    none.

    Args:
        folder: name of the folder in the data folder.
        hub: id on the hub.
        columns: what every row must have.
        question: the column that tells items apart.
        sample: (row, file) -> the sample of a row; raises ValueError where the row has no answer that can be scored.
        test: the files that evaluate.
        train: the training file, None where there is none.
        evaluates_only: files no item of which selects, calibrates or trains, because another task evaluates on them.
    """

    folder: str
    hub: str
    columns: tuple[str, ...]
    question: str
    sample: Callable[[Row, str], Sample]
    test: tuple[Part, ...] = (Part("test", None, "test"),)
    train: Part | None = None
    evaluates_only: frozenset[str] = frozenset()

    def __call__(self, split: Split, limit: int, data_dir: Path | None = None) -> list[Sample]:
        """At most `limit` samples of the split, always the same ones first.

        Raises:
            UserError: a file is missing, empty or broken, or the hub cannot be reached.
        """
        if self.train is None:
            files = [self._cut(part, split, data_dir) for part in self._tests(data_dir)]
            return _distinct(_in_turn(files))[:limit]
        test = [sample for part in self._tests(data_dir) for _, sample in self._items(part, data_dir)]
        if split == "evaluate":
            return _distinct(test)[:limit]
        evaluated = {sample.id for sample in test}
        cut = [
            replace(sample, split=split)
            for key, sample in self._items(self.train, data_dir)
            if split_of(key, _OF_TRAIN) == split and sample.id not in evaluated
        ]
        return _distinct(cut)[:limit]

    def whole(self, data_dir: Path | None = None) -> list[Sample]:
        """Every item of the test files as they are: file after file, in the order of their lines, whatever the split.

        Raises:
            UserError: a file is missing, empty or broken, or the hub cannot be reached.
        """
        return [sample for part in self._tests(data_dir) for _, sample in self._items(part, data_dir)]

    def _tests(self, data_dir: Path | None) -> list[Part]:
        return [part for part in self.test if data_dir is not None or part.split is not None]

    def _cut(self, part: Part, split: Split, data_dir: Path | None) -> list[Sample]:
        """The samples of one file that belong to the split."""
        items = self._items(part, data_dir)
        if part.file in self.evaluates_only:
            return [sample for _, sample in items] if split == "evaluate" else []
        taken = self._taken(data_dir)
        return [
            replace(sample, split=split)
            for key, sample in items
            if split_of(key, _OF_TEST) == split and sample.id not in taken
        ]

    def _taken(self, data_dir: Path | None) -> set[str]:
        """The ids of the items that only evaluate."""
        parts = [part for part in self._tests(data_dir) if part.file in self.evaluates_only]
        return {sample.id for part in parts for _, sample in self._items(part, data_dir)}

    def _items(self, part: Part, data_dir: Path | None) -> Sequence[tuple[str, Sample]]:
        """What the split of an item hangs on, with its sample, in the order of the file."""
        if data_dir is None:
            return _made(self, part, None, 0, 0)
        path = _file(data_dir / self.folder, part.file)
        status = path.stat()
        return _made(self, part, path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _made(benchmark: Benchmark, part: Part, path: Path | None, changed: int, size: int) -> Sequence[tuple[str, Sample]]:
    """The items of a file, or of the hub; made once a process unless the file changes."""
    if path is None:
        assert part.split is not None
        where = f"{benchmark.hub} ({part.config or part.split})"
        rows = _from_hub(benchmark.hub, part.config, part.split)
    else:
        where, rows = str(path), _from_file(path)
    _check(where, rows, benchmark.columns)
    items = []
    for number, row in enumerate(rows, 1):
        try:
            items.append((_key(row[benchmark.question]), benchmark.sample(row, part.file)))
        except ValueError as error:
            raise UserError(f"{where}, item {number}: {error}", "mend the item, or take it out") from None
    return items


def split_of(key: str, shares: Sequence[tuple[Split, int]]) -> Split:
    """The split of an item: a function of the hash of its question alone."""
    point = int(content_hash(key, 8), 16) % 1000
    for split, share in shares:
        if point < share:
            return split
        point -= share
    raise AssertionError("the shares add up to 1000")


def _key(question: str) -> str:
    """The question whatever its spaces and capitals: near copies fall into one split."""
    return " ".join(question.casefold().split())


def _distinct(samples: list[Sample]) -> list[Sample]:
    return list({sample.id: sample for sample in reversed(samples)}.values())[::-1]


def _in_turn(files: list[list[Sample]]) -> list[Sample]:
    turns = max(map(len, files))
    return [file[turn] for turn in range(turns) for file in files if turn < len(file)]


def _file(folder: Path, name: str) -> Path:
    for suffix in SUFFIXES:
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    fix = f"give --data-dir the folder that holds {folder.name}/, or leave it out to read the hub"
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}", fix)
    raise UserError(f"{folder} has no {name}.jsonl (nor .json, nor .parquet)", fix)


def _from_file(path: Path) -> list[Row]:
    try:
        if path.suffix == ".parquet":
            return _from_parquet(path)
        text = path.read_text(encoding="utf-8-sig")
        return _from_json(path, text) if path.suffix == ".json" else _from_lines(path, text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", "check the file") from None


def _from_lines(path: Path, text: str) -> list[Row]:
    rows = []
    # Not splitlines: it also splits at signs that JSON strings may hold.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            rows.append(_row(path, number, line))
    return rows


def _row(path: Path, number: int, line: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {number} is no JSON: {error.msg}", "mend or remove the line") from None
    if not isinstance(row, dict):
        raise UserError(f"{path}, line {number} is no JSON object", "write one {...} a line")
    return row


def _from_json(path: Path, text: str) -> list[Row]:
    try:
        rows = json.loads(text) if text.strip() else []
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is no JSON: {error.msg} at line {error.lineno}",
            "mend it, or name it .jsonl if it has one item a line",
        ) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path} is no list of JSON objects", "write [{...}, ...], or a .jsonl file")
    return rows


def _from_parquet(path: Path) -> list[Row]:
    from datasets import Dataset

    try:
        with TemporaryDirectory() as cache:
            return [dict(row) for row in Dataset.from_parquet(str(path), cache_dir=cache, keep_in_memory=True)]
    # `datasets` raises errors of many kinds for what it cannot read.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read: {reason}", "check the file") from None


def _from_hub(hub: str, config: str | None, split: str) -> list[Row]:
    from datasets import load_dataset

    try:
        return [dict(row) for row in load_dataset(hub, config, split=split)]
    # `datasets` raises errors of many kinds for what cannot be found, reached or read.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"data set {hub} cannot be read from the hub: {reason}",
            "give --data-dir a folder of local files, or go online (HF_HUB_OFFLINE unset)",
        ) from None


def _check(where: str, rows: Sequence[Row], columns: tuple[str, ...]) -> None:
    if not rows:
        raise UserError(f"{where} is empty", "give a file with at least one item")
    for number, row in enumerate(rows, 1):
        missing = [column for column in columns if column not in row]
        if missing:
            raise UserError(
                f"{where}, item {number} has no column {', '.join(missing)}: it has "
                f"{', '.join(map(str, row)) or 'none'}",
                f"give a file with the columns {', '.join(columns)}",
            )
        wrong = [column for column in columns if not isinstance(row[column], str)]
        if wrong:
            kind = type(row[wrong[0]]).__name__
            raise UserError(f"{where}, item {number}: {wrong[0]} is of type {kind}, not a text", "mend the item")
