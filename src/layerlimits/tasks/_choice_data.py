"""Items of choice benchmarks, from a local folder with the hub's columns or from the hub, prepared by the harness."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError, unknown
from layerlimits.tasks._data import Row, from_hub, key_of, read_files
from layerlimits.tasks._files import Part, Stamp, files_of, find_files, stamp
from layerlimits.types import Sample


# Compared by identity, so that it can be a cache key.
@dataclass(frozen=True, eq=False)
class ChoiceBenchmark:
    """Source of a benchmark's items, and what is read from them in addition to what the harness reads.

    Args:
        name: Name of the task and of its folder in the data folder.
        yaml: The harness's task file, relative to its folder of tasks; "{}" stands for the part.
        hub: Dataset id on the hub.
        config: Dataset configuration.
        columns: Required columns and their types. Other columns are ignored.
        gold: row -> index of the correct option; raises ValueError if no option is correct.
        question: item prepared by the harness -> the question as shown to people.
        options: item prepared by the harness -> its options.
        split: Split used for evaluation, also the name of its file.
        examples: Split that few-shot examples come from.
        train: Split used for selection, calibration and training; a folder may lack it.
        part: Column with the part (e.g. subject) an item belongs to, if the benchmark has parts.
        may_be_blank: Text columns that may be empty.
    """

    name: str
    yaml: str
    hub: str
    config: str | None
    columns: Mapping[str, type]
    gold: Callable[[Row], int]
    question: Callable[[Row], str]
    options: Callable[[Row], Sequence[str]]
    split: str = "test"
    examples: str = "train"
    train: str = "train"
    part: str = ""
    may_be_blank: frozenset[str] = frozenset()

    def at(self, split: str) -> Part:
        """The file of a split; it is named as on the hub."""
        return Part(split, self.config, split)


@dataclass(frozen=True)
class Item:
    """An item prepared by the harness, with the harness's task and our sample; prompts are added later."""

    sample: Sample
    part: str
    doc: Row
    task: Any

    @property
    def key(self) -> str:
        """Key that determines the split."""
        return key_of(self.sample.prompt)


def split_files(benchmark: ChoiceBenchmark, split: str, data_dir: Path) -> tuple[Path, ...]:
    """The files of a split; empty if there are none.

    Raises:
        UserError: Several files match, or a shard is missing.
    """
    return find_files(data_dir, benchmark.name, benchmark.hub, benchmark.at(split))


def exists(benchmark: ChoiceBenchmark, split: str, data_dir: Path | None) -> bool:
    """Whether there is a file of this split; the hub has all splits."""
    return data_dir is None or bool(split_files(benchmark, split, data_dir))


def stamp_of(benchmark: ChoiceBenchmark, data_dir: Path | None) -> Stamp:
    """Names, modification times and sizes of the files of all splits, to detect changes."""
    if data_dir is None:
        return ()
    splits = dict.fromkeys((benchmark.split, benchmark.examples, benchmark.train))
    return stamp([file for split in splits for file in split_files(benchmark, split, data_dir)])


def items_of(benchmark: ChoiceBenchmark, split: str, data_dir: Path | None) -> Sequence[Item]:
    """The items of a file or of the hub, in order; cached per process until a file changes.

    Raises:
        UserError: The file is missing, empty or invalid, or the hub cannot be reached.
    """
    return _made(benchmark, split, data_dir, stamp_of(benchmark, data_dir))


@lru_cache(maxsize=64)
def _made(benchmark: ChoiceBenchmark, split: str, data_dir: Path | None, stamp: object) -> Sequence[Item]:
    part = benchmark.at(split)
    if data_dir is None:
        where, rows = from_hub(benchmark.hub, part)
    else:
        texts = {name for name, kind in benchmark.columns.items() if kind is str}
        where, rows = read_files(files_of(data_dir, benchmark.name, benchmark.hub, part), texts)
    golds = _golds(benchmark, where, rows)
    parts: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        parts.setdefault(row[benchmark.part] if benchmark.part else "", []).append(index)
    made: dict[int, Item] = {}
    for subject, places in parts.items():
        task = _task(benchmark, subject, [{name: rows[index][name] for name in benchmark.columns} for index in places])
        for index, doc in zip(places, task.task_docs, strict=True):
            made[index] = _item(benchmark, subject, doc, task, golds[index])
    return _distinguished([made[index] for index in range(len(rows))])


def _golds(benchmark: ChoiceBenchmark, where: str, rows: Sequence[Row]) -> list[int]:
    """Check every row and return the indices of the correct options."""
    if not rows:
        raise UserError(f"{where} is empty", "provide a file with at least one item")
    golds = []
    for number, row in enumerate(rows, 1):
        missing = [name for name in benchmark.columns if name not in row]
        if missing:
            raise UserError(
                f"{where}, item {number} has no column {', '.join(missing)}: it has {', '.join(row) or 'none'}",
                f"provide a file with the columns {', '.join(benchmark.columns)}",
            )
        try:
            for name, kind in benchmark.columns.items():
                check_type(name, row[name], kind)
            golds.append(benchmark.gold(row))
            for name, kind in benchmark.columns.items():
                if kind is str and name not in benchmark.may_be_blank:
                    check_text(name, row[name])
        except ValueError as error:
            raise UserError(f"{where}, item {number}: {error}", "correct the item or remove it") from None
    return golds


def _task(benchmark: ChoiceBenchmark, part: str, rows: list[Row]) -> Any:
    from layerlimits.lm_eval_bridge import TASKS, task_of

    file = benchmark.yaml.format(part)
    if not (TASKS / file).is_file():
        before, after = Path(benchmark.yaml).name.split("{}")
        others = (TASKS / file).parent.glob(f"{before}*{after}")
        raise unknown(benchmark.part, part, [path.name.removeprefix(before).removesuffix(after) for path in others])
    return task_of(file, rows)


def _item(benchmark: ChoiceBenchmark, part: str, doc: Row, task: Any, gold: int) -> Item:
    options = tuple(benchmark.options(doc))
    meta = {"set": part} if part else {}
    judge = partial(task.process_results, doc)
    sample = Sample(benchmark.question(doc), options[gold], "evaluate", options, meta | {"judge": judge})
    return Item(sample, part, doc, task)


def _distinguished(items: list[Item]) -> list[Item]:
    """Give repeated items distinct ids: their few-shot examples differ, and each of them counts."""
    seen: dict[str, int] = {}
    apart = []
    for item in items:
        sample = item.sample
        times = seen[sample.id] = seen.get(sample.id, 0) + 1
        # The same question under a different id: an option in the origin, which is never shown, distinguishes it.
        origin = replace(sample, choices=(*sample.choices, f"copy {times}"))
        apart.append(replace(item, sample=replace(sample, origin=origin)) if times > 1 else item)
    return apart


def check_type(name: str, value: object, kind: type) -> None:
    """Check the type of a value.

    Raises:
        ValueError: The type is wrong; the message names both types.
    """
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} has type {type(value).__name__}, expected {kind.__name__}")


def check_text(name: str, value: object) -> None:
    """Check that a value is a non-blank string: an empty option has no likelihood.

    Raises:
        ValueError: The value is not a string, or it is blank.
    """
    check_type(name, value, str)
    if not str(value).strip():
        raise ValueError(f"{name} is empty")


def check_texts(name: str, values: Sequence[object]) -> None:
    """Check that all options are non-blank strings.

    Raises:
        ValueError: An option is invalid; the message has its 1-based position.
    """
    for number, value in enumerate(values, 1):
        check_text(f"option {number} of {name}", value)


def one_of(name: str, value: object, options: Sequence[object]) -> int:
    """The index of a value among the options.

    Raises:
        ValueError: The value is not one of the options.
    """
    if value not in options:
        raise ValueError(f"{name} {value!r} is not one of {', '.join(map(str, options))}")
    return options.index(value)


def labelled(row: Row) -> int:
    """The index of the correct option of a row with `choices` (lists `text` and `label`) and `answerKey`.

    Raises:
        ValueError: The row has no options, or the key is not one of the labels.
    """
    texts, labels = row["choices"].get("text"), row["choices"].get("label")
    if not isinstance(texts, list) or not isinstance(labels, list) or not 0 < len(texts) == len(labels):
        raise ValueError("choices does not contain lists text and label of equal length")
    check_texts("choices", texts)
    return one_of("answerKey", row["answerKey"], labels)
