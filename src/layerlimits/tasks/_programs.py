"""What tasks whose answers are Python functions share: the hidden test of an item runs what a model wrote."""

import ast
import warnings
from collections.abc import Sequence

from layerlimits.scoring.code import Answer, judge_all
from layerlimits.types import Response, Sample, Verdict


def score_all(samples: Sequence[Sample], responses: Sequence[Response], unsafe: bool) -> list[Verdict]:
    """The verdicts by the items' hidden tests, run in the sandbox on all cores; without it if `unsafe`.

    Raises:
        UserError: there is something to run, and no sandbox is possible here.
    """
    answers = [
        Answer(response, sample.meta["test"], sample.meta["entry_point"], sample.meta.get("prompt", ""))
        for sample, response in zip(samples, responses, strict=True)
    ]
    return judge_all(answers, unsafe=unsafe)


def score(sample: Sample, response: Response) -> Verdict:
    """The verdict on one response, in the sandbox; many are judged quicker by `score_all`."""
    return score_all([sample], [response], False)[0]


def fenced(code: str) -> str:
    """Python source as an answer shows it."""
    return f"```python\n{code.strip()}\n```"


def functions_in(code: str) -> list[str]:
    """The names of the functions that Python source defines at its margin, in their order.

    Raises:
        ValueError: it is no Python.
    """
    return [node.name for node in parsed(code).body if isinstance(node, ast.FunctionDef)]


def parsed(code: str) -> ast.Module:
    """The syntax tree of Python source.

    Raises:
        ValueError: it is no Python.
    """
    with warnings.catch_warnings():
        # A solution may hold an escape that Python does not know.
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except SyntaxError as error:
            raise ValueError(f"{code.strip()[:60]!r} is not valid Python: {error.msg}") from None
