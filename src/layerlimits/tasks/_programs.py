"""Shared code of tasks whose answers are Python functions, scored by running an item's hidden test."""

import ast
import warnings
from collections.abc import Sequence

from layerlimits.scoring.code import Answer, judge_all
from layerlimits.types import Response, Sample, Verdict


def score_all(samples: Sequence[Sample], responses: Sequence[Response], unsafe: bool) -> list[Verdict]:
    """Score responses with the items' hidden tests, in the sandbox (unless `unsafe`) and on all cores.

    Raises:
        UserError: There is a program to run and no sandbox is available.
    """
    answers = [
        Answer(response, sample.meta["test"], sample.meta["entry_point"], sample.meta.get("prompt", ""))
        for sample, response in zip(samples, responses, strict=True)
    ]
    return judge_all(answers, unsafe=unsafe)


def score(sample: Sample, response: Response) -> Verdict:
    """Score one response in the sandbox; `score_all` is faster for many."""
    return score_all([sample], [response], False)[0]


def fenced(code: str) -> str:
    """Python source in a fenced code block."""
    return f"```python\n{code.strip()}\n```"


def functions_in(code: str) -> list[str]:
    """The names of the top-level functions in Python source, in order.

    Raises:
        ValueError: The source is not valid Python.
    """
    return [node.name for node in parsed(code).body if isinstance(node, ast.FunctionDef)]


def parsed(code: str) -> ast.Module:
    """The syntax tree of Python source.

    Raises:
        ValueError: The source is not valid Python.
    """
    with warnings.catch_warnings():
        # A solution may contain an invalid escape sequence.
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except SyntaxError as error:
            raise ValueError(f"{code.strip()[:60]!r} is not valid Python: {error.msg}") from None
