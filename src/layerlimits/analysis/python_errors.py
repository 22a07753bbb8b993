"""Why a program is not valid Python, from the parser of Python."""

import ast
import warnings
from typing import Literal

from layerlimits.analysis.brackets import code_brackets

SyntaxProblem = Literal["bracket syntax", "indentation", "unterminated string", "missing colon", "other syntax"]

_BRACKETS = ("was never closed", "unmatched", "opening parenthesis", "closing parenthesis", "expecting '}'")
_STRINGS = ("unterminated", "EOL while scanning", "EOF while scanning")
# Dense text takes the parser 9 s per million characters.
_MOST_CHARACTERS = 200_000


def syntax_problem(code: str) -> SyntaxProblem | None:
    """Which rule a program breaks first, by the parser's exception and its message; None if it is valid Python.

    Where the parser names no rule and a bracket does not match, the bracket is the problem. A program of more than
    200,000 characters is not parsed: it counts as "other syntax".
    """
    if len(code) > _MOST_CHARACTERS:
        return "other syntax"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except IndentationError:
        return "indentation"
    except SyntaxError as error:
        problem = problem_in(error.msg)
        if problem == "other syntax" and (brackets := code_brackets(code)) and brackets.error:
            return "bracket syntax"
        return problem
    except (ValueError, RecursionError, MemoryError):
        return "other syntax"
    return None


def problem_in(message: str) -> SyntaxProblem:
    """The problem that a message of the parser names."""
    if "indent" in message:
        return "indentation"
    if any(part in message for part in _STRINGS):
        return "unterminated string"
    if any(part in message for part in _BRACKETS):
        return "bracket syntax"
    return "missing colon" if "expected ':'" in message else "other syntax"
