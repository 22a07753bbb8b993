"""Parsing Python that a model wrote, within a bound: any text may be tried, and no text takes minutes."""

import ast
import re
import warnings

# Characters that the parser reads before an error, of all tries together. A dense text takes 9 s a million.
MOST_PARSED = 200_000
# To find an error, the rest of the text is split into tokens, which takes a tenth as long or less.
_REST_SHARE = 10
_PER_PARSE = 2
_UNREADABLE = re.compile("[\0\ud800-\udfff]")


def syntax_tree(code: str) -> ast.Module | None:
    """The syntax tree of Python source, None if it is no Python."""
    tree = _parse(code)
    return tree if isinstance(tree, ast.Module) else None


def _parse(code: str) -> ast.Module | int:
    """The syntax tree, or the number of the line, from 1, whose statement is no Python."""
    unreadable = _UNREADABLE.search(code)
    if unreadable:
        return code.count("\n", 0, unreadable.start()) + 1
    with warnings.catch_warnings():
        # Such as an escape that Python does not know: a matter of the answer's author.
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except SyntaxError as error:
            # Within an f-string lines are counted anew.
            return error.lineno or 1 if error.filename == "<unknown>" else 1
        except (ValueError, RecursionError, MemoryError):
            return 1


class BoundedParser:
    """Parses one response's code as often as it needs to, until `MOST_PARSED` is spent; then nothing parses."""

    def __init__(self) -> None:
        self._left = MOST_PARSED
        self._trees: dict[str, ast.Module | int] = {}

    @property
    def spent(self) -> bool:
        """Whether nothing is parsed any more."""
        return self._left <= 0

    def tree(self, code: str) -> ast.Module | None:
        """The syntax tree; None if the code is no Python, or nothing is left to parse it with."""
        tree = self._tried(code)
        return tree if isinstance(tree, ast.Module) else None

    def error_line(self, code: str) -> int | None:
        """The line, from 1, whose statement is no Python; None if all is."""
        tree = self._tried(code)
        return None if isinstance(tree, ast.Module) else tree

    def _tried(self, code: str) -> ast.Module | int:
        if code not in self._trees:
            if self.spent:
                return 1
            self._trees[code] = tree = _parse(code)
            self._left -= _PER_PARSE + self._cost(code, tree)
        return self._trees[code]

    def _cost(self, code: str, tree: ast.Module | int) -> int:
        if isinstance(tree, ast.Module):
            return len(code)
        read = sum(len(line) + 1 for line in code.split("\n", tree)[:tree])
        return read + (len(code) - read) // _REST_SHARE
