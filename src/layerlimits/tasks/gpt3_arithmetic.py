"""GPT-3's arithmetic sets (Brown et al., arXiv 2005.14165), without intermediate steps; `Sample.meta` has the set."""

import re

from layerlimits.scoring import quantities
from layerlimits.scoring.numerals import number
from layerlimits.tasks._benchmark import Benchmark
from layerlimits.tasks._data import Row
from layerlimits.tasks._files import Part
from layerlimits.types import Sample, Task

# Local file names in order, with the configurations of the hub's dataset, which lacks six-digit sets and digit sums.
_SETS = {
    "five_digit_addition": "arithmetic_5da",
    "five_digit_subtraction": "arithmetic_5ds",
    "four_digit_addition": "arithmetic_4da",
    "four_digit_subtraction": "arithmetic_4ds",
    "single_digit_three_ops": "arithmetic_1dc",
    "six_digit_addition": None,
    "six_digit_subtraction": None,
    "sum_of_digits": None,
    "three_digit_addition": "arithmetic_3da",
    "three_digit_subtraction": "arithmetic_3ds",
    "two_digit_addition": "arithmetic_2da",
    "two_digit_multiplication": "arithmetic_2dm",
    "two_digit_subtraction": "arithmetic_2ds",
}
_CONTEXT = re.compile(r"\s*(?:Q|Question):\s*(\S.*?)\s*\n\s*(?:A|Answer):\s*")


def _part(file: str) -> Part:
    """The file of a set; the hub's repository has a script, which `datasets` does not run."""
    config = _SETS[file]
    return Part(file, config, "validation", f"data/{file}.jsonl") if config else Part(file, None, None)


def _sample(row: Row, file: str) -> Sample:
    asked = _CONTEXT.fullmatch(row["context"])
    if not asked:
        raise ValueError(f"context contains no question: {row['context']!r}")
    gold = row["completion"].strip()
    if number(gold) is None:
        raise ValueError(f"completion is not a number: {row['completion']!r}")
    return Sample(asked[1], gold, "evaluate", meta={"set": file}, shown=gold)


gpt3_arithmetic = Task(
    name="gpt3_arithmetic",
    version=1,
    kind="generation",
    samples=Benchmark(
        folder="arithmetic",
        hub="EleutherAI/arithmetic",
        columns=("context", "completion"),
        question="context",
        sample=_sample,
        test=tuple(_part(file) for file in _SETS),
        # The task `arithmetic` evaluates on this file.
        evaluates_only=frozenset({"single_digit_three_ops"}),
    ),
    score=lambda sample, response: quantities.judge(response, sample.target, sample.prompt, strict=quantities.alone),
    max_new_tokens=32,
    metric="accuracy",
    scorer=3,
    summary="GPT-3's arithmetic sets, one to six digits, without intermediate steps",
    numeric=True,
)
