"""HumanEval+: write a Python function from its signature and docstring; scored by a hidden test (arXiv 2305.01210)."""

from layerlimits.tasks._benchmark import Benchmark
from layerlimits.tasks._data import OF_TEST_UNTRAINED, Row
from layerlimits.tasks._programs import fenced, functions_in, score, score_all
from layerlimits.types import Sample, Task

_ASK = "Complete the following Python function. Answer with the whole function in one code block.\n\n```python\n{}\n```"


def _sample(row: Row, file: str) -> Sample:
    prompt, name = row["prompt"], row["entry_point"]
    target = prompt + row["canonical_solution"]
    if name not in functions_in(target):
        raise ValueError(f"the reference solution does not define the function {name}")
    # Tests call helpers from the prompt, and HumanEval/33 calls the reference solution; `candidate` is the program.
    test = f"{target}\n{row['test']}\ncheck(candidate)\n"
    meta = {"test": test, "entry_point": name, "prompt": prompt, "question": prompt.strip()}
    return Sample(_ASK.format(prompt.rstrip()), target, "evaluate", meta=meta, shown=fenced(target))


humanevalplus = Task(
    name="humanevalplus",
    version=1,
    scorer=3,
    kind="generation",
    samples=Benchmark(
        folder="humanevalplus",
        hub="evalplus/humanevalplus",
        columns=("prompt", "entry_point", "canonical_solution", "test"),
        sample=_sample,
        shares=OF_TEST_UNTRAINED,
    ),
    score=score,
    max_new_tokens=512,
    metric="pass rate",
    summary="HumanEval+, Python functions from signature and docstring, scored by hidden tests in a sandbox",
    score_all=score_all,
)
