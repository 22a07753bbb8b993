"""Three-operand arithmetic without intermediate steps, like GPT-3's single_digit_three_ops (arXiv 2005.14165)."""

import re
from itertools import islice
from pathlib import Path

from layerlimits import jsonl
from layerlimits.errors import UserError
from layerlimits.reference.world.arithmetic import owner, three_ops
from layerlimits.scoring import numbers
from layerlimits.tasks._world import drawn
from layerlimits.types import Sample, Split, Task

_FILE = Path("arithmetic") / "single_digit_three_ops.jsonl"
_QUESTION = re.compile(r"Q: (.*?)\n")
_generated = drawn(three_ops, owner)


def _samples(split: Split, limit: int, data_dir: Path | None) -> list[Sample]:
    if data_dir is None or split != "evaluate":
        return _generated(split, limit, None)
    path = data_dir / _FILE
    if not path.exists():
        raise UserError(
            f"{data_dir} has no {_FILE}",
            "set the data folder (--data-dir) to the one that contains it, or omit it",
        )
    samples = [_sample(row, f"{path}, line {number}") for number, row in islice(jsonl.rows(path), limit)]
    if not samples and limit:
        raise UserError(f"{path} is empty", "provide a file with at least one item")
    return samples


def _sample(row: jsonl.Row, where: str) -> Sample:
    for column in ("context", "completion"):
        if not isinstance(row.get(column), str):
            problem = f"{column} has type {type(row[column]).__name__}, expected a string" if column in row else ""
            raise UserError(f"{where}: {problem or f'no column {column}'}", "correct the item or remove it")
    question = _QUESTION.search(row["context"])
    if not question:
        raise UserError(f"{where}: context contains no question: {row['context']!r}", "correct the item or remove it")
    return Sample(question.group(1), row["completion"].strip(), "evaluate")


arithmetic = Task(
    name="arithmetic",
    version=1,
    kind="generation",
    samples=_samples,
    score=lambda sample, response: numbers.judge(response, sample.target, sample.prompt, marker=False),
    max_new_tokens=12,
    metric="exact match",
    scorer=2,
    letters=False,
    numeric=True,
    summary="three-operand arithmetic on the digits 1 to 9, without intermediate steps",
)
