"""What became of a program: passed, or why not, from the verdict's reason and the parser."""

import re
from typing import Literal, get_args

from layerlimits.analysis.python_errors import SyntaxProblem, problem_in, syntax_problem
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
# The reasons that scoring/expressions gives for functions of one line, which are evaluated without being executed.
_NOT_PARSED = "not valid Python: "
_DEFINITION = re.compile(r"\bdef f\b[^\n]*")
_ARGUMENTS = re.compile(r"\w+ called with \d+ arguments")
_NOT_JUDGED = ("context too long", "more than")
_WRONG = ("assertion failed", "not a plain value", "wrong for", "the function returns nothing")


def code_outcome(verdict: Verdict, text: str = "") -> CodeOutcome:
    """The outcome of a program.

    A program whose result has a type that the test cannot use, such as None where a list is expected, is a type error
    if Python raised one, and a wrong result otherwise.

    Args:
        verdict: The verdict on the response.
        text: The response, in which a function of one line is looked for that is too broken to be found by its scorer.
    """
    why = verdict.why
    if verdict.outcome == "correct":
        return "passed"
    if verdict.outcome == "truncated":
        return "truncated"
    if why == "not valid Python":
        return syntax_problem(verdict.answer) or "other syntax"
    if why == "no function f(x)":
        return _of_definition(text) or "no code"
    if verdict.outcome == "no_answer":
        return "no code"
    if why.startswith(_NOT_PARSED):
        return _of_definition(text) or problem_in(why.removeprefix(_NOT_PARSED))
    return _run(why)


def _of_definition(text: str) -> SyntaxProblem | None:
    definition = _DEFINITION.search(text)
    return syntax_problem(definition[0]) if definition else None


def _run(why: str) -> CodeOutcome:
    """The outcome of a program that is valid Python."""
    if why.startswith(_NOT_JUDGED):
        return "not judged"
    if why.startswith("timed out"):
        return "timeout"
    if why.startswith("memory") or "was killed" in why:
        return "memory"
    if raised := _RAISED.match(why):
        return _exception(raised[1])
    if why.startswith(_WRONG):
        return "wrong result"
    if why == "Name is not allowed":
        return "name not defined"
    return "type error" if _ARGUMENTS.match(why) else "other runtime error"


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
