"""Three-operand arithmetic without intermediate steps, like GPT-3's single_digit_three_ops (arXiv 2005.14165)."""

import re
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.reference.world.arithmetic import owner, three_ops
from layerlimits.scoring import numbers
from layerlimits.tasks._data import Row, read_files
from layerlimits.tasks._files import Part, files_of
from layerlimits.tasks._world import drawn
from layerlimits.types import Sample, Split, Task

# The benchmark gpt3_arithmetic has this file, too, and never trains on it.
_FILE = Part("single_digit_three_ops", "arithmetic_1dc", "validation")
_QUESTION = re.compile(r"Q: (.*?)\n")
_generated = drawn(three_ops, owner)


def _samples(split: Split, limit: int, data_dir: Path | None) -> list[Sample]:
    if data_dir is None or split != "evaluate":
        return _generated(split, limit, None)
    where, rows = read_files(files_of(data_dir, "arithmetic", "EleutherAI/arithmetic", _FILE))
    if not rows:
        raise UserError(f"{where} is empty", "provide a file with at least one item")
    return [_sample(row, f"{where}, item {number}") for number, row in enumerate(rows[:limit], 1)]


def _sample(row: Row, where: str) -> Sample:
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
