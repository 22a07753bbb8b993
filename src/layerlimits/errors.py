"""The one error users see, and the words for common mistakes."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """A mistake in what was asked for: printed in one line with its fix, without a traceback, exit status 2.

    Args:
        problem: what is wrong, with the numbers.
        fix: what to do about it.
    """

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"error: {self.problem}\n  fix: {self.fix}"


def unknown(what: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that does not exist, with the nearest ones that do."""
    names = sorted(known)
    near = get_close_matches(name, names, n=2, cutoff=0.6)
    fix = f"did you mean {' or '.join(near)}?" if near else f"use one of: {', '.join(names)}"
    return UserError(f"unknown {what} {name!r}", fix)
