"""MBPP+: write a Python function from a description and assertions; scored by a hidden test (arXiv 2305.01210)."""

import ast
from typing import Any

from layerlimits.tasks._benchmark import Benchmark
from layerlimits.tasks._data import OF_TEST_UNTRAINED, Row
from layerlimits.tasks._programs import fenced, functions_in, parsed, score, score_all
from layerlimits.types import Sample, Task

_ASK = "{}\nYour code should pass these tests:\n\n{}\n\nAnswer with one Python code block."


def _sample(row: Row, file: str) -> Sample:
    code, shown = row["code"], _texts("test_list", row["test_list"])
    # The hub's version has no entry_point column.
    name = row.get("entry_point") or called_in(shown, code)
    if name not in functions_in(code):
        raise ValueError(f"the reference solution does not define the function {name}")
    # Some tests rely on the imports of the reference solution.
    imports = _texts("test_imports", row.get("test_imports") or [])
    test = "\n".join([*imports, code, f"{name} = candidate", row["test"]])
    question = row["prompt"].strip()
    prompt = _ASK.format(question, "\n".join(shown))
    meta = {"test": test, "entry_point": name, "question": question}
    return Sample(prompt, code, "evaluate", meta=meta, shown=fenced(code))


def _texts(column: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
        raise ValueError(f"{column} is not a list of strings: {value!r}")
    return value


def called_in(assertions: list[str], code: str) -> str:
    """The function of the reference solution that the assertions call.

    Raises:
        ValueError: The assertions call none of its functions, or something is not valid Python.
    """
    defined = functions_in(code)
    called = {
        node.func.id
        for assertion in assertions
        for node in ast.walk(parsed(assertion))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    called_names = [name for name in defined if name in called]
    if not called_names:
        raise ValueError(
            f"test_list calls none of the functions in the reference solution: {', '.join(defined) or 'none'}"
        )
    return called_names[-1]


mbppplus = Task(
    name="mbppplus",
    version=1,
    scorer=3,
    kind="generation",
    samples=Benchmark(
        folder="mbppplus",
        hub="evalplus/mbppplus",
        columns=("prompt", "code", "test_list", "test"),
        texts=("prompt", "code", "test"),
        sample=_sample,
        shares=OF_TEST_UNTRAINED,
    ),
    score=score,
    max_new_tokens=512,
    metric="pass rate",
    summary="MBPP+, Python functions from a description and assertions, scored by hidden tests in a sandbox",
    score_all=score_all,
)
