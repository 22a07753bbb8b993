"""Read a benchmark's items from a local folder with the hub's columns or from the hub, and assign them to splits."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from layerlimits import jsonl
from layerlimits.errors import UserError
from layerlimits.foreign import check_file, json_value, refusing
from layerlimits.hub import hub_error, offline_if_unreachable
from layerlimits.tasks._files import Part, find_files
from layerlimits.types import Sample, Split, content_hash

Row = jsonl.Row
Shares = tuple[tuple[Split, int], ...]

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


def read_files(files: Sequence[Path], texts: Collection[str] | None = None) -> tuple[str, list[Row]]:
    """Read the files of a split; returns their name for messages, and their rows in order.

    Args:
        files: The files.
        texts: Columns that are texts; all if None. In a CSV file, the others are JSON.

    Raises:
        UserError: A file is invalid; the message has the number of an invalid line.
    """
    rows = [row for file in files for row in _rows(file, texts)]
    return str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more", rows


def _rows(path: Path, texts: Collection[str] | None) -> list[Row]:
    if path.suffix == ".parquet":
        return _from_parquet(path)
    if path.suffix == ".csv":
        rows = jsonl.csv_rows(path)
        if texts is None:
            return list(rows)
        return [{name: cell if name in texts else _value(cell) for name, cell in row.items()} for row in rows]
    if path.suffix == ".json":
        return jsonl.list_of_rows(path)
    return [row for _, row in jsonl.rows(path)]


def _value(text: str) -> Any:
    """The JSON value of a cell; the text itself if it is none, which the check of its type refuses."""
    try:
        return json_value(text, "", "")
    except UserError:
        return text


def _from_parquet(path: Path) -> list[Row]:
    from datasets import Dataset

    check_file(path, None, "give a parquet file")
    # `datasets` raises many kinds of errors for unreadable files, and logs some of them.
    with refusing(f"{path} cannot be read", "check the file"), _quiet(), TemporaryDirectory() as cache:
        return [dict(row) for row in Dataset.from_parquet(str(path), cache_dir=cache, keep_in_memory=True)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside the block, `datasets` logs nothing."""
    from datasets.utils import logging as messages

    before = messages.get_verbosity()
    messages.set_verbosity(messages.CRITICAL)
    try:
        yield
    finally:
        messages.set_verbosity(before)


def from_hub(hub: str, part: Part) -> tuple[str, list[Row]]:
    """Read a split of a dataset on the hub; returns its name for messages, and its rows.

    If the hub cannot be reached, the dataset is read from the local caches of `datasets` and of the hub.

    Raises:
        UserError: The dataset does not exist or requires a login, or the hub cannot be reached.
    """
    where = f"{hub} ({part.config or part.split})"
    with offline_if_unreachable() as unreachable:
        try:
            return where, _rows_from_hub(hub, part)
        except UserError:
            raise
        # `datasets` raises many kinds of errors for missing, unreachable and unreadable datasets.
        except Exception as error:
            cached = _cached(hub, part) if unreachable else ()
            if cached:
                return where, read_files(cached)[1]
            raise hub_error("dataset", hub, error, unreachable, "set --data-dir to a folder of local files") from None


def _rows_from_hub(hub: str, part: Part) -> list[Row]:
    from datasets import load_dataset
    from huggingface_hub import hf_hub_download

    if part.path:
        return read_files([Path(hf_hub_download(hub, part.path, repo_type="dataset"))])[1]
    return [dict(row) for row in load_dataset(hub, part.config, split=part.split)]


def _cached(hub: str, part: Part) -> tuple[Path, ...]:
    """The files of a part in the hub's local cache, where `hf download` puts them."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    return find_files(cache, f"datasets--{hub.replace('/', '--')}", hub, part)


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
