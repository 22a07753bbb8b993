"""HumanEval+: a signature with its docstring to a Python function, judged by its hidden test (arXiv 2305.01210)."""

from layerlimits.errors import UserError
from layerlimits.tasks._code_data import CodeBenchmark, Row, score
from layerlimits.types import Task

_ASK = "Complete the following Python function. Answer with the whole function in one code block.\n\n```python\n{}\n```"


def _item(row: Row) -> tuple[str, str, dict[str, str]]:
    try:
        prompt, name = row["prompt"], row["entry_point"]
        target = prompt + row["canonical_solution"]
        # Tests call helpers of the prompt, and HumanEval/33 the reference itself; `candidate` is the program.
        test = f"{target}\n{row['test']}\ncheck(candidate)\n"
    except KeyError as error:
        raise UserError(f"an item has no {error}", "give the columns of evalplus/humanevalplus") from None
    return _ASK.format(prompt.rstrip()), target, {"test": test, "entry_point": name, "prompt": prompt}


humanevalplus = Task(
    name="humanevalplus",
    version=1,
    kind="generation",
    samples=CodeBenchmark("humanevalplus", "evalplus/humanevalplus", _item),
    score=score,
    max_new_tokens=512,
    metric="pass rate",
    summary="Python functions from signature and docstring (HumanEval+), judged by hidden tests in a sandbox",
)
