"""Code benchmarks: their items from a folder or the hub, and which of them choose layers."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError
from layerlimits.scoring.code import Answer, judge
from layerlimits.types import Response, Sample, Split, Verdict, content_hash

Row = Mapping[str, Any]

# Thousandths of the items, by the hash of their prompt: selection 20%, calibration 10%, evaluation the rest.
_SELECT, _CALIBRATE = 200, 100


def split_of(prompt: str) -> Split:
    """The split an item belongs to."""
    point = int(content_hash(prompt, 8), 16) % 1000
    return "select" if point < _SELECT else "calibrate" if point < _SELECT + _CALIBRATE else "evaluate"


@dataclass(frozen=True)
class CodeBenchmark:
    """The items of a benchmark with one split, from `<data folder>/<name>/test.jsonl` or the hub; called as
    `Task.samples` is.

    `evaluate` begins with the items of that split. If more are asked for, those of the others follow, so that a
    published score on the whole set can be compared; whoever also chooses layers by them is told by the check of
    splits. There is no `train`: these sets are for testing.

    Args:
        make: the prompt, the target and the meta of a row.
    """

    name: str
    hub_id: str
    make: Callable[[Row], tuple[str, str, dict[str, str]]]

    def __call__(self, split: Split, limit: int, data_dir: Path | None = None) -> list[Sample]:
        """At most `limit` samples of a split."""
        if split == "train":
            raise UserError(f"{self.name} is a test set, so nothing is trained on it", "train on another task")
        made = self._made(data_dir)
        own = [item for item in made if split_of(item[0]) == split]
        if split == "evaluate":
            own += [item for item in made if split_of(item[0]) != split]
        return [Sample(prompt, target, split, meta=meta) for prompt, target, meta in own[:limit]]

    def whole(self, data_dir: Path | None) -> list[Sample]:
        """The test file's items in its order, whatever their split."""
        return [Sample(prompt, target, "evaluate", meta=meta) for prompt, target, meta in self._made(data_dir)]

    def _made(self, data_dir: Path | None) -> list[tuple[str, str, dict[str, str]]]:
        return [self.make(row) for row in _rows(self.name, self.hub_id, data_dir)]


def score(sample: Sample, response: Response) -> Verdict:
    """The verdict by the item's hidden test, run in the sandbox."""
    meta = sample.meta
    return judge(Answer(response, meta["test"], meta["entry_point"], meta.get("prompt", "")))


@cache
def _rows(name: str, hub_id: str, data_dir: Path | None) -> tuple[Row, ...]:
    if data_dir is None:
        return _from_hub(hub_id)
    path = data_dir / name / "test.jsonl"
    if not path.exists():
        raise UserError(f"{data_dir} has no {name}/test.jsonl", f"put the items of {hub_id} there, one JSON a line")
    try:
        return tuple(json.loads(line) for line in path.read_text().splitlines() if line.strip())
    except ValueError as error:
        raise UserError(f"{path} is no JSON Lines: {error}", "check the file") from None


def _from_hub(hub_id: str) -> tuple[Row, ...]:
    from datasets import load_dataset

    try:
        return tuple(load_dataset(hub_id, split="test"))
    except Exception as error:
        raise UserError(
            f"{hub_id} could not be loaded from the hub ({type(error).__name__})",
            "check the connection, or give a folder with its items: --data-dir",
        ) from None
