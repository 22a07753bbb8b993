"""MBPP+: a sentence and its visible assertions to a Python function, judged by its hidden test (arXiv 2305.01210)."""

import ast
import warnings

from layerlimits.errors import UserError
from layerlimits.tasks._code_data import CodeBenchmark, Row, score
from layerlimits.types import Task

_ASK = "{}\nYour code should pass these tests:\n\n{}\n\nAnswer with one Python code block."


def _item(row: Row) -> tuple[str, str, dict[str, str]]:
    try:
        code, shown = row["code"], list(row["test_list"])
        name = row.get("entry_point") or called_in(shown, code)
        # Some tests rely on the imports of the reference solution.
        test = "\n".join([*row.get("test_imports", ()), code, f"{name} = candidate", row["test"]])
        prompt = _ASK.format(row["prompt"].strip(), "\n".join(shown))
    except KeyError as error:
        raise UserError(f"an item has no {error}", "give the columns of evalplus/mbppplus") from None
    return prompt, code, {"test": test, "entry_point": name}


def called_in(assertions: list[str], code: str) -> str:
    """The function of the reference solution that the assertions call (the hub's version does not name it).

    Raises:
        UserError: they call none.
    """
    with warnings.catch_warnings():
        # A solution may hold an escape that Python does not know.
        warnings.simplefilter("ignore")
        defined = [node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)]
    called = {
        node.func.id
        for assertion in assertions
        for node in ast.walk(ast.parse(assertion))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    found = [name for name in defined if name in called]
    if not found:
        raise UserError(f"the assertions of an item of mbppplus call none of {', '.join(defined)}", "check the item")
    return found[-1]


mbppplus = Task(
    name="mbppplus",
    version=1,
    kind="generation",
    samples=CodeBenchmark("mbppplus", "evalplus/mbppplus", _item),
    score=score,
    max_new_tokens=512,
    metric="pass rate",
    summary="Python functions from a sentence and assertions (MBPP+), judged by hidden tests in a sandbox",
)
