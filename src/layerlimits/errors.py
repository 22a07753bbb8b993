"""The exception for user errors, and constructors for common messages."""

from collections.abc import Iterable
from difflib import get_close_matches


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
        return f"error: {self.problem}\n  fix: {self.fix}"


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
