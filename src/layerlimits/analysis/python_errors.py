"""Why a program is not valid Python, from the parser of Python."""

import ast
import warnings
from typing import Literal

SyntaxProblem = Literal["bracket syntax", "indentation", "unterminated string", "missing colon", "other syntax"]

_BRACKETS = ("was never closed", "unmatched", "opening parenthesis", "closing parenthesis", "expecting '}'")
_STRINGS = ("unterminated", "EOL while scanning", "EOF while scanning")
# Dense text takes the parser 9 s per million characters.
_MOST_CHARACTERS = 200_000


def syntax_problem(code: str) -> SyntaxProblem | None:
    """Which rule a program breaks first, by the parser's exception and its message; None if it is valid Python.

    A program of more than 200,000 characters, which is not parsed, has another problem than those with a name.
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
        return _kind(error.msg)
    except (ValueError, RecursionError, MemoryError):
        return "other syntax"
    return None


def _kind(message: str) -> SyntaxProblem:
    if any(part in message for part in _STRINGS):
        return "unterminated string"
    if any(part in message for part in _BRACKETS):
        return "bracket syntax"
    return "missing colon" if "expected ':'" in message else "other syntax"
