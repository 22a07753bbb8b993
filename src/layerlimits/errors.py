"""The exception for user errors, and constructors for common messages."""

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST_SHOWN = 4000


class UserError(Exception):
    """An error in the user's input. The command line prints the problem and the fix and exits with status 2.

    Args:
        problem: What is wrong, with the numbers.
        fix: How to correct it.
    """

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"error: {printable(self.problem)}\n  fix: {printable(self.fix)}"


def printable(text: str) -> str:
    r"""A text from outside as one line that is safe to print in a terminal.

    Control characters, line ends, lone surrogates and characters that change the direction of writing are escaped, as
    in "\x1b"; the middle of a text of more than 4,000 characters is left out.
    """
    if len(text) > _LONGEST_SHOWN:
        text = f"{text[: _LONGEST_SHOWN // 2]} ... ({len(text):,} characters) ... {text[-_LONGEST_SHOWN // 4 :]}"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class StorageError(UserError):
    """The run folder cannot be read or written: the disk is full, the database is damaged, or the folder is read-only.

    A study stops with it, whereas other errors only skip a stage.
    """


def unknown(what: str, name: str, known: Iterable[str]) -> UserError:
    """The error for an unknown name, with the closest known names.

    Args:
        what: What the name refers to, such as "task".
        name: The unknown name.
        known: All known names.
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=2, cutoff=0.6)
    fix = f"did you mean {' or '.join(near)}?" if near else f"use one of: {', '.join(names)}"
    return UserError(f"unknown {what} {name!r}", fix)
