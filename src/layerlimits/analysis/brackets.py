"""The brackets of programs and of free text, and the first one that does not match."""

import re
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

BracketProblem = Literal["closed without opening", "closed by another bracket", "never closed"]

_CLOSING = {")": "(", "]": "[", "}": "{"}
_OPENING = frozenset(_CLOSING.values())
_MARKS = frozenset("()[]{}")
# The tokenizer reads a million characters in some seconds. The brackets of the start of a longer text are not judged,
# since those that are open there may be closed later.
_MOST_CHARACTERS = 200_000
_NO_CONTENT = (tokenize.ENDMARKER, tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT)
# Emoticons, and labels of list items such as "1)" or "a)" at the start of a line, are not brackets.
_NOT_BRACKETS = re.compile(
    r"(?<!\S)[:;]-?[()\[\]](?=[\s.,!?]|\Z)|^[ \t]*[-*]?[ \t]*(?:\d{1,2}|[a-zA-Z])\)(?=\s)", re.MULTILINE
)


@dataclass(frozen=True)
class Brackets:
    """The brackets of a text in order, the character at which each stands, and the length of the text."""

    marks: str
    characters: tuple[int, ...]
    length: int

    @property
    def error(self) -> "BracketError | None":
        """The first error; None if the brackets are balanced."""
        return bracket_error(self.marks)

    def position(self, error: "BracketError") -> float:
        """Where an error stands, as a share of the text, 0..1."""
        return self.characters[error.index] / self.length


@dataclass(frozen=True)
class BracketError:
    """The first bracket that does not match, by its index among the brackets; `depth` brackets are open before it."""

    kind: BracketProblem
    index: int
    depth: int


def code_brackets(code: str) -> Brackets | None:
    """The brackets of Python source, without those in strings and comments, by the tokenizer of Python.

    Indentation has no influence: a program with a wrong one has brackets, too.

    Returns:
        None if it cannot be said which characters are code: the source is empty, a string has no end, or the source
        is longer than 200,000 characters.
    """
    if not code.strip() or len(code) > _MOST_CHARACTERS:
        return None
    lines = code.split("\n")
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    indents = [len(line) - len(line.lstrip(" \t\f")) for line in lines]
    tokens = list(_tokens([line[indent:] for line, indent in zip(lines, indents, strict=True)]))
    if all(token is not None and token.type in _NO_CONTENT for token in tokens) or None in tokens:
        return None
    found = list(_outside_strings(token for token in tokens if token))
    places = [(token.start[0] - 1, token.start[1]) for token in found]
    characters = tuple(starts[line] + indents[line] + column for line, column in places)
    return Brackets("".join(token.string for token in found), characters, len(code))


def _outside_strings(tokens: Iterable[tokenize.TokenInfo]) -> Iterator[tokenize.TokenInfo]:
    """The brackets among tokens; from Python 3.12 on, an f-string is several tokens, which all belong to a string."""
    inside = 0
    for token in tokens:
        name = tokenize.tok_name[token.type]
        inside += name.endswith("STRING_START") - name.endswith("STRING_END")
        if not inside and token.type == tokenize.OP and token.string in _MARKS:
            yield token


def _tokens(lines: list[str]) -> Iterator[tokenize.TokenInfo | None]:
    """The tokens of lines; None where a string begins that has no end."""
    source = iter([f"{line}\n" for line in lines])
    try:
        for token in tokenize.generate_tokens(lambda: next(source, "")):
            # Before Python 3.12, the quotation mark of such a string is a token of its own.
            yield None if token.type == tokenize.ERRORTOKEN and token.string[:1] in "\"'" else token
    except (tokenize.TokenError, SyntaxError) as error:
        # The end of the source within brackets is what the balance is about.
        if "multi-line statement" not in str(error):
            yield None


def text_brackets(text: str) -> Brackets | None:
    """The brackets of free text, without those of emoticons and of labels such as "1)"; None for an empty text."""
    if not text.strip():
        return None
    skipped = {match.end() - 1 for match in _NOT_BRACKETS.finditer(text)}
    places = [place for place, mark in enumerate(text) if mark in _MARKS and place not in skipped]
    return Brackets("".join(text[place] for place in places), tuple(places), len(text))


def bracket_error(marks: str) -> BracketError | None:
    """The first bracket of a sequence that breaks its balance; None if it is balanced.

    A bracket that nothing closes is found at the end only: the error is then the innermost of those.
    """
    open_at: list[int] = []
    for index, mark in enumerate(marks):
        if mark in _OPENING:
            open_at.append(index)
        elif mark in _CLOSING:
            if not open_at:
                return BracketError("closed without opening", index, 0)
            if marks[open_at[-1]] != _CLOSING[mark]:
                return BracketError("closed by another bracket", index, len(open_at))
            open_at.pop()
    return BracketError("never closed", open_at[-1], len(open_at) - 1) if open_at else None


def balanced(marks: str) -> bool:
    """Whether every bracket is closed by the matching one, in order."""
    return bracket_error(marks) is None
