"""MATH-500: competition mathematics (Hendrycks et al., arXiv 2103.03874; 500 problems as in 2305.20050)."""

from layerlimits.scoring import mathematics
from layerlimits.tasks._benchmark import Benchmark
from layerlimits.tasks._data import Row
from layerlimits.types import Sample, Task

_INSTRUCTION = "Reason step by step, and put your final answer within \\boxed{}."


def _sample(row: Row, file: str) -> Sample:
    gold = row["answer"].strip()
    if not gold or gold.count("{") != gold.count("}"):
        raise ValueError(f"answer is not a formula: {gold!r}")
    problem = row["problem"].strip()
    shown = f"The final answer is $\\boxed{{{gold}}}$."
    return Sample(f"{problem}\n\n{_INSTRUCTION}", gold, "evaluate", meta={"question": problem}, shown=shown)


math500 = Task(
    name="math500",
    version=1,
    kind="generation",
    samples=Benchmark(
        folder="math500",
        hub="HuggingFaceH4/MATH-500",
        columns=("problem", "answer"),
        question="problem",
        sample=_sample,
    ),
    score=lambda sample, response: mathematics.judge(
        response, sample.target, sample.meta.get("question", ""), instruction=_INSTRUCTION
    ),
    max_new_tokens=1024,
    metric="accuracy",
    scorer=3,
    summary="MATH-500, competition mathematics with boxed answers",
)
