"""Why a program is not valid Python, from the parser and the tokenizer of Python; brackets "
"without strings and comments.
"""

import ast
import io
import re
import tokenize
import warnings
from dataclasses import dataclass
from typing import Literal

SyntaxProblem = Literal["bracket syntax", "indentation", "unterminated string", "missing colon", "other syntax"]
BracketProblem = Literal["closed without opening", "closed by another bracket", "never closed"]

_CLOSING = {")": "(", "]": "[", "}": "{"}
_OPENING = frozenset(_CLOSING.values())
_BRACKETS = ("was never closed", "unmatched", "opening parenthesis", "closing parenthesis", "does not match")
_STRINGS = ("unterminated", "EOL while scanning", "EOF while scanning")
# Longer texts are cut before they are parsed, which takes time in proportion to their length.
_MOST_CHARACTERS = 100_000


@dataclass(frozen=True)
class BracketError:
    """The first bracket that does not match, at a 0-based index of the brackets of the text; `depth` is open there."""

    kind: BracketProblem
    index: int
    depth: int


def syntax_problem(code: str) -> SyntaxProblem | None:
    """Which rule a program breaks first, None if it is valid Python. Decided by the parser's exception and message."""
    text = code[:_MOST_CHARACTERS]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
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


def code_brackets(code: str) -> str | None:
    """The brackets of Python source in order, without those in strings and comments; None if it has no tokens.

    Where the tokenizer fails, for instance at a string without an end, the brackets before that place.
    """
    found: list[str] = []
    any_token = False
    try:
        for token in tokenize.generate_tokens(io.StringIO(code[:_MOST_CHARACTERS]).readline):
            if token.type not in (tokenize.ENDMARKER, tokenize.NEWLINE, tokenize.NL):
                any_token = True
            if token.type == tokenize.OP and (token.string in _CLOSING or token.string in _OPENING):
                found.append(token.string)
    except (tokenize.TokenError, SyntaxError, IndentationError):
        pass
    return "".join(found) if any_token else None


def text_brackets(text: str) -> str | None:
    """The brackets of free text in order; None for a text without any character."""
    return re.sub(r"[^()\[\]{}]", "", text) if text.strip() else None


def bracket_error(brackets: str) -> BracketError | None:
    """The first bracket of a sequence that breaks its balance; None if it is balanced."""
    open_at: list[int] = []
    for index, mark in enumerate(brackets):
        if mark in _OPENING:
            open_at.append(index)
        elif mark in _CLOSING:
            if not open_at:
                return BracketError("closed without opening", index, 0)
            if brackets[open_at.pop()] != _CLOSING[mark]:
                return BracketError("closed by another bracket", index, len(open_at) + 1)
    return BracketError("never closed", open_at[-1], len(open_at)) if open_at else None


def balanced(brackets: str) -> bool:
    """Whether every bracket is closed by the matching one, in order."""
    return bracket_error(brackets) is None
