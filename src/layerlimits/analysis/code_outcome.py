"""What became of a program: passed, or why not, from the verdict's reason and the parser."""

import re
from typing import Literal, get_args

from layerlimits.analysis.python_errors import SyntaxProblem, syntax_problem
from layerlimits.types import Verdict

CodeOutcome = Literal[
    "passed",
    "wrong result",
    "bracket syntax",
    "indentation",
    "unterminated string",
    "missing colon",
    "other syntax",
    "name not defined",
    "type error",
    "other runtime error",
    "timeout",
    "memory",
    "no code",
    "truncated",
    "not judged",
]
OUTCOMES: tuple[CodeOutcome, ...] = get_args(CodeOutcome)
SYNTAX: tuple[SyntaxProblem, ...] = get_args(SyntaxProblem)

# The reasons that scoring/sandbox gives, and the exception that a program raised.
_RAISED = re.compile(r"(?:raised|the test raised) (\w+)")
_UNDEFINED = ("NameError", "UnboundLocalError")


def code_outcome(verdict: Verdict) -> CodeOutcome:
    """The outcome of a program.

    A program whose result has a type that the test cannot use, such as None where a list is expected, is a type error
    if Python raised one, and a wrong result otherwise.
    """
    why = verdict.why
    if verdict.outcome == "correct":
        return "passed"
    if verdict.outcome == "truncated":
        return "truncated"
    if verdict.outcome == "no_answer":
        return "no code"
    if why == "not valid Python":
        return syntax_problem(verdict.answer) or "other syntax"
    if why.startswith("context too long"):
        return "not judged"
    if why.startswith("timed out"):
        return "timeout"
    if why.startswith("memory") or "was killed" in why:
        return "memory"
    if raised := _RAISED.match(why):
        return _exception(raised[1])
    return "wrong result" if why.startswith(("assertion failed", "not a plain value")) else "other runtime error"


def _exception(name: str) -> CodeOutcome:
    if name in _UNDEFINED:
        return "name not defined"
    if name == "TypeError":
        return "type error"
    if name == "MemoryError":
        return "memory"
    if name in ("IndentationError", "TabError"):
        return "indentation"
    return "other syntax" if name == "SyntaxError" else "other runtime error"
