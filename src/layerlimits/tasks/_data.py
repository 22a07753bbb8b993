"""Reading a benchmark's items: a local folder with the hub's columns, or the hub itself; and the cutting of splits."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from layerlimits import jsonl
from layerlimits.errors import UserError
from layerlimits.types import Sample, Split, content_hash

Row = jsonl.Row
Shares = tuple[tuple[Split, int], ...]

SUFFIXES = (".jsonl", ".json", ".parquet")

# Shares of the items, in thousandths, cut by the hash of what is asked: of training items where the benchmark has some;
# of test items where these are all there is; of test items that nothing is trained on.
OF_TRAIN: Shares = (("select", 80), ("calibrate", 50), ("train", 870))
OF_TEST: Shares = (("evaluate", 700), ("select", 100), ("calibrate", 50), ("train", 150))
OF_TEST_UNTRAINED: Shares = (("select", 200), ("calibrate", 100), ("evaluate", 700))


def split_of(key: str, shares: Shares) -> Split:
    """The split of an item: a function of the hash of its key alone."""
    point = int(content_hash(key, 8), 16) % 1000
    for split, share in shares:
        if point < share:
            return split
        point -= share
    raise AssertionError("the shares add up to 1000")


def key_of(question: str) -> str:
    """The question whatever its spaces and capitals: near copies fall into one split."""
    return " ".join(question.casefold().split())


def distinct(samples: Sequence[Sample]) -> list[Sample]:
    """Of samples with the same id the first alone, where the last stood: the order of items must never change."""
    return list({sample.id: sample for sample in reversed(samples)}.values())[::-1]


def in_turn(files: Sequence[Sequence[Sample]]) -> list[Sample]:
    """The first sample of every file, then the second of every file, and so on: a limit spares no file."""
    turns = max(map(len, files), default=0)
    return [file[turn] for turn in range(turns) for file in files if turn < len(file)]


def find_file(folder: Path, name: str) -> Path:
    """The file of this name, which has one of `SUFFIXES`.

    Raises:
        UserError: there is none, or no such folder.
    """
    for suffix in SUFFIXES:
        if (folder / f"{name}{suffix}").is_file():
            return folder / f"{name}{suffix}"
    fix = f"set --data-dir to the folder that contains {folder.name}/, or omit it to read from the hub"
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}", fix)
    raise UserError(f"{folder} has no {name}.jsonl (nor .json, nor .parquet)", fix)


def read_file(folder: Path, name: str) -> tuple[str, list[Row]]:
    """What to call the file of this name in messages, and its rows.

    Raises:
        UserError: it is missing or broken; a broken line is told by its number.
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
    # `datasets` raises errors of many kinds for what it cannot read.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path} cannot be read: {reason}", "check the file") from None


def from_hub(hub: str, config: str | None, split: str) -> tuple[str, list[Row]]:
    """What to call a split of a data set on the hub in messages, and its rows.

    Raises:
        UserError: it does not exist, or the hub cannot be reached.
    """
    from datasets import load_dataset

    try:
        rows = [dict(row) for row in load_dataset(hub, config, split=split)]
    # `datasets` raises errors of many kinds for what cannot be found, reached or read.
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"dataset {hub} cannot be read from the hub: {reason}",
            "set --data-dir to a folder of local files, or go online (unset HF_HUB_OFFLINE)",
        ) from None
    return f"{hub} ({config or split})", rows


def check_columns(
    where: str, rows: Sequence[Row], columns: Sequence[str], *, texts: Sequence[str] | None = None
) -> None:
    """See that there are rows, that each has the columns, and that texts are texts.

    Args:
        where: what the rows are called in messages.
        columns: what every row must have.
        texts: the columns that must hold a text; all of `columns` if None.
    Raises:
        UserError: there is no row, or one lacks a column or holds something else than a text; with its number.
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
