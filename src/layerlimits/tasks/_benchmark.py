"""Tasks whose items come from a benchmark: its files or its splits on the hub, cut into the splits of a task."""

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
    find_file,
    from_hub,
    in_turn,
    key_of,
    read_file,
    split_of,
)
from layerlimits.types import Sample, Split


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

    Splits are disjoint by the hash of what is asked and never change. Where the benchmark has a training file, its test
    file evaluates as a whole and the other splits are cut from the training items; where it has none, every split is
    cut from the test items by `shares`. Of several files the items come in turn, so that a limit spares none.

    Args:
        folder: name of the folder in the data folder.
        hub: id on the hub.
        columns: what every row must have.
        sample: (row, file) -> the sample of a row; raises ValueError where the row has no answer that can be scored.
        question: the column whose hash tells the split; the prompt as it is asked, if empty.
        texts: the columns that hold texts; all of them if None.
        test: the files that evaluate.
        train: the training file, None where there is none.
        evaluates_only: files no item of which selects, calibrates or trains, because another task evaluates on them.
        shares: how test items are cut where there is no training file.
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
        """At most `limit` samples of the split, always the same ones first; none of a split that has no share.

        Raises:
            UserError: a file is missing, empty or broken, or the hub cannot be reached.
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
            if split_of(key, self.shares) == split and sample.id not in taken
        ]

    def _taken(self, data_dir: Path | None) -> set[str]:
        """The ids of the items that only evaluate."""
        parts = [part for part in self._tests(data_dir) if part.file in self.evaluates_only]
        return {sample.id for part in parts for _, sample in self._items(part, data_dir)}

    def _items(self, part: Part, data_dir: Path | None) -> Sequence[tuple[str, Sample]]:
        """What the split of an item hangs on, with its sample, in the order of the file."""
        if data_dir is None:
            return _made(self, part, None, 0, 0)
        status = find_file(data_dir / self.folder, part.file).stat()
        return _made(self, part, data_dir / self.folder, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=64)
def _made(
    benchmark: Benchmark, part: Part, folder: Path | None, changed: int, size: int
) -> Sequence[tuple[str, Sample]]:
    """The items of a file, or of the hub; made once a process unless the file changes."""
    if folder is None:
        assert part.split is not None
        where, rows = from_hub(benchmark.hub, part.config, part.split)
    else:
        where, rows = read_file(folder, part.file)
    check_columns(where, rows, benchmark.columns, texts=benchmark.texts)
    items = []
    for number, row in enumerate(rows, 1):
        try:
            sample = benchmark.sample(row, part.file)
        except ValueError as error:
            raise UserError(f"{where}, item {number}: {error}", "correct the item or remove it") from None
        items.append((key_of(row[benchmark.question]) if benchmark.question else sample.prompt, sample))
    return items
