"""Read a benchmark's items from a local folder with the hub's columns or from the hub, and assign them to splits."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from layerlimits import jsonl
from layerlimits.errors import UserError
from layerlimits.types import Sample, Split, content_hash

Row = jsonl.Row
Shares = tuple[tuple[Split, int], ...]

SUFFIXES = (".jsonl", ".json", ".parquet")

# Sizes of splits in thousandths, assigned by a hash of the question: for training items, for test items of benchmarks
# without training items, and for test items that must not be trained on.
OF_TRAIN: Shares = (("select", 80), ("calibrate", 50), ("train", 870))
OF_TEST: Shares = (("evaluate", 700), ("select", 100), ("calibrate", 50), ("train", 150))
OF_TEST_UNTRAINED: Shares = (("select", 200), ("calibrate", 100), ("evaluate", 700))


def split_of(key: str, shares: Shares) -> Split:
    """The split of an item, determined only by the hash of its key."""
    point = int(content_hash(key, 8), 16) % 1000
    for split, share in shares:
        if point < share:
            return split
        point -= share
    raise AssertionError("the shares add up to 1000")


def key_of(question: str) -> str:
    """The question with normalized whitespace and case, so that near copies fall into the same split."""
    return " ".join(question.casefold().split())


def distinct(samples: Sequence[Sample]) -> list[Sample]:
    """Keep the first of the samples with the same id, at the position of the last; this order must never change."""
    return list({sample.id: sample for sample in reversed(samples)}.values())[::-1]


def in_turn(files: Sequence[Sequence[Sample]]) -> list[Sample]:
    """The first sample of every file, then the second of every file, and so on, so that a limit covers all files."""
    turns = max(map(len, files), default=0)
    return [file[turn] for turn in range(turns) for file in files if turn < len(file)]


def find_file(folder: Path, name: str) -> Path:
    """The file with this name and one of `SUFFIXES`.

    Raises:
        UserError: The file or the folder does not exist.
    """
    for suffix in SUFFIXES:
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    fix = f"set the data folder (--data-dir) to the one that contains {folder.name}/, or omit it to use the hub"
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}", fix)
    raise UserError(f"{folder} has no {name}.jsonl (nor .json, nor .parquet)", fix)


def read_file(folder: Path, name: str) -> tuple[str, list[Row]]:
    """Read a file; returns its name for messages, and its rows.

    Raises:
        UserError: The file is missing or invalid; the message has the number of an invalid line.
    """
    path = find_file(folder, name)
    if path.suffix == ".parquet":
        return str(path), _from_parquet(path)
    if path.suffix == ".json":
        return str(path), jsonl.list_of_rows(path)
    return str(path), [row for _, row in jsonl.rows(path)]


def _from_parquet(path: Path) -> list[Row]:
    from datasets import Dataset

    try:
        with TemporaryDirectory() as cache:
            return [dict(row) for row in Dataset.from_parquet(str(path), cache_dir=cache, keep_in_memory=True)]
    # `datasets` raises many kinds of errors for unreadable files.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read: {reason}", "check the file") from None


def from_hub(hub: str, config: str | None, split: str) -> tuple[str, list[Row]]:
    """Read a split of a dataset on the hub; returns its name for messages, and its rows.

    Raises:
        UserError: The dataset does not exist, or the hub cannot be reached.
    """
    from datasets import load_dataset

    try:
        rows = [dict(row) for row in load_dataset(hub, config, split=split)]
    # `datasets` raises many kinds of errors for missing, unreachable and unreadable datasets.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"dataset {hub} cannot be read from the hub: {reason}",
            "set the data folder (--data-dir) to local files, or go online (unset HF_HUB_OFFLINE)",
        ) from None
    return f"{hub} ({config or split})", rows


def check_columns(
    where: str, rows: Sequence[Row], columns: Sequence[str], *, texts: Sequence[str] | None = None
) -> None:
    """Check that there are rows, that each has the columns, and that text columns are strings.

    Args:
        where: Name of the source in messages.
        columns: Columns that every row must have.
        texts: Columns that must be strings; all of `columns` if None.

    Raises:
        UserError: There are no rows, or a row lacks a column or has a wrong type; the message has the row's number.
    """
    if not rows:
        raise UserError(f"{where} is empty", "provide a file with at least one item")
    for number, row in enumerate(rows, 1):
        missing = [column for column in columns if column not in row]
        if missing:
            raise UserError(
                f"{where}, item {number} has no column {', '.join(missing)}: it has "
                f"{', '.join(map(str, row)) or 'none'}",
                f"provide a file with the columns {', '.join(columns)}",
            )
        wrong = [column for column in (columns if texts is None else texts) if not isinstance(row[column], str)]
        if wrong:
            kind = type(row[wrong[0]]).__name__
            raise UserError(
                f"{where}, item {number}: {wrong[0]} has type {kind}, expected a string",
                "correct the item or remove it",
            )
