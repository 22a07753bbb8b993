"""GSM8K: grade-school word problems of two to eight steps (Cobbe et al., arXiv 2110.14168)."""

import re

from layerlimits.scoring import quantities
from layerlimits.scoring.numerals import number
from layerlimits.tasks._benchmark import Benchmark
from layerlimits.tasks._data import Row
from layerlimits.tasks._files import Part
from layerlimits.types import Sample, Task

_INSTRUCTION = "Reason step by step, and put your final answer, a number alone, after '####' on the last line."
# The worked answers contain calculator annotations: 16-3 = <<16-3=13>>13.
_CALCULATOR = re.compile(r"<<[^<>]*>>")


def _sample(row: Row, file: str) -> Sample:
    worked, marker, gold = row["answer"].rpartition("####")
    if not marker or number(gold) is None:
        raise ValueError(f"answer does not end in '#### number': {row['answer'][-60:]!r}")
    question = row["question"].strip()
    shown = f"{_CALCULATOR.sub('', worked).strip()}\n#### {gold.strip()}"
    meta = {"question": question}
    return Sample(f"{question}\n\n{_INSTRUCTION}", row["answer"], "evaluate", meta=meta, shown=shown)


gsm8k = Task(
    name="gsm8k",
    version=1,
    kind="generation",
    samples=Benchmark(
        folder="gsm8k",
        hub="openai/gsm8k",
        columns=("question", "answer"),
        question="question",
        sample=_sample,
        test=(Part("test", "main", "test"),),
        train=Part("train", "main", "train"),
    ),
    score=lambda sample, response: quantities.judge(
        response,
        sample.target.rpartition("####")[2],
        sample.meta.get("question", ""),
        instruction=_INSTRUCTION,
    ),
    max_new_tokens=512,
    metric="accuracy",
    scorer=3,
    summary="GSM8K, grade-school word problems with worked answers",
)
