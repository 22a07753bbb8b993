"""Items of tasks that come from a benchmark, from local files or the hub, divided into the splits of a task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.tasks._data import (
    OF_TEST,
    OF_TRAIN,
    Row,
    Shares,
    check_columns,
    distinct,
    from_hub,
    in_turn,
    key_of,
    read_files,
    split_of,
)
from layerlimits.tasks._files import Part, Stamp, files_of, find_files, stamp
from layerlimits.types import Sample, Split


@dataclass(frozen=True)
class Benchmark:
    """The items of a task, called like `Task.samples` with (split, limit, data folder or None).

    Splits are determined by a hash of the question, so they are disjoint and never change. If the benchmark has a
    training file, the whole test file is the `evaluate` split and the other splits are taken from the training items;
    otherwise the test items are divided by `shares`. Items of several files alternate, so that a limit covers all.

    Args:
        folder: Name of the folder in the data folder.
        hub: Dataset id on the hub.
        columns: Columns that every row must have.
        sample: (row, file) -> the sample of a row; raises ValueError if the row cannot be scored.
        question: Column whose hash determines the split; the prompt if empty.
        texts: Columns that must be strings; all columns if None.
        test: Test files. Those without a split on the hub are used if they exist.
        train: Training file, if any.
        evaluates_only: Files that are used for the `evaluate` split only, because another task evaluates on them.
        shares: Sizes of the splits if there is no training file.
    """

    folder: str
    hub: str
    columns: tuple[str, ...]
    sample: Callable[[Row, str], Sample]
    question: str = ""
    texts: tuple[str, ...] | None = None
    test: tuple[Part, ...] = (Part("test", None, "test"),)
    train: Part | None = None
    evaluates_only: frozenset[str] = frozenset()
    shares: Shares = OF_TEST

    def __call__(self, split: Split, limit: int, data_dir: Path | None = None) -> list[Sample]:
        """The first `limit` samples of the split, in a fixed order; empty if the split has no share.

        Raises:
            UserError: A file is missing, empty or invalid, or the hub cannot be reached.
        """
        if self.train is None:
            files = [self._cut(part, split, data_dir) for part in self._tests(data_dir)]
            return distinct(in_turn(files))[:limit]
        test = self.whole(data_dir)
        if split == "evaluate":
            return distinct(test)[:limit]
        evaluated = {sample.id for sample in test}
        cut = [
            replace(sample, split=split)
            for key, sample in self._items(self.train, data_dir)
            if split_of(key, OF_TRAIN) == split and sample.id not in evaluated
        ]
        return distinct(cut)[:limit]

    def whole(self, data_dir: Path | None = None) -> list[Sample]:
        """All items of the test files in file order, regardless of split.

        Raises:
            UserError: A file is missing, empty or invalid, or the hub cannot be reached.
        """
        return [sample for part in self._tests(data_dir) for _, sample in self._items(part, data_dir)]

    def _tests(self, data_dir: Path | None) -> list[Part]:
        """The test files that there are: the hub, and so a copy of its repository, lacks some."""
        return [
            part
            for part in self.test
            if part.split is not None or (data_dir is not None and find_files(data_dir, self.folder, self.hub, part))
        ]

    def _cut(self, part: Part, split: Split, data_dir: Path | None) -> list[Sample]:
        """The samples of one file that belong to the split."""
        items = self._items(part, data_dir)
        if part.file in self.evaluates_only:
            return [sample for _, sample in items] if split == "evaluate" else []
        taken = self._taken(data_dir)
        return [
            replace(sample, split=split)
            for key, sample in items
            if split_of(key, self.shares) == split and sample.id not in taken
        ]

    def _taken(self, data_dir: Path | None) -> set[str]:
        """Ids of the items that are used for evaluation only."""
        parts = [part for part in self._tests(data_dir) if part.file in self.evaluates_only]
        return {sample.id for part in parts for _, sample in self._items(part, data_dir)}

    def _items(self, part: Part, data_dir: Path | None) -> Sequence[tuple[str, Sample]]:
        """The key that determines the split of each item, and its sample, in file order."""
        if data_dir is None:
            return _made(self, part, (), ())
        files = files_of(data_dir, self.folder, self.hub, part)
        return _made(self, part, files, stamp(files))


@lru_cache(maxsize=64)
def _made(benchmark: Benchmark, part: Part, files: tuple[Path, ...], changed: Stamp) -> Sequence[tuple[str, Sample]]:
    """The items of files, or of the hub if there are none; cached per process until a file changes."""
    where, rows = read_files(files, benchmark.texts) if files else from_hub(benchmark.hub, part)
    check_columns(where, rows, benchmark.columns, texts=benchmark.texts)
    items = []
    for number, row in enumerate(rows, 1):
        try:
            sample = benchmark.sample(row, part.file)
        except ValueError as error:
            raise UserError(f"{where}, item {number}: {error}", "correct the item or remove it") from None
        items.append((key_of(row[benchmark.question]) if benchmark.question else sample.prompt, sample))
    return items
