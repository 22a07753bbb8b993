"""Parse Python written by a model within a fixed budget, so that no text takes minutes."""

import ast
import re
import warnings

# Total characters the parser may read over all attempts. Dense text takes 9 s per million characters.
MOST_PARSED = 200_000
# After an error the rest of the text is only tokenized, which takes at most a tenth of the time.
_REST_SHARE = 10
_PER_PARSE = 2
_UNREADABLE = re.compile("[\0\ud800-\udfff]")


def syntax_tree(code: str) -> ast.Module | None:
    """The syntax tree of Python source; None if it is not valid Python."""
    tree = _parse(code)
    return tree if isinstance(tree, ast.Module) else None


def without_assertions(code: str) -> str:
    """Valid Python without the assertions at its top level, which are a model's own tests; line numbers stay."""
    tree = syntax_tree(code)
    lines = code.split("\n")
    spans = [(node.lineno, node.end_lineno or node.lineno) for node in tree.body] if tree else []
    ends, starts = [0, *(end for _, end in spans)], [*(start for start, _ in spans[1:]), len(lines) + 1]
    for node, (start, end), before, after in zip(tree.body if tree else [], spans, ends, starts, strict=False):
        if isinstance(node, ast.Assert) and before < start and end < after:
            lines[start - 1 : end] = [""] * (end - start + 1)
    return "\n".join(lines)


def _parse(code: str) -> ast.Module | int:
    """The syntax tree, or the 1-based number of the line with the invalid statement."""
    unreadable = _UNREADABLE.search(code)
    if unreadable:
        return code.count("\n", 0, unreadable.start()) + 1
    with warnings.catch_warnings():
        # Warnings such as invalid escape sequences concern the author of the answer.
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except SyntaxError as error:
            # Inside an f-string, line numbers start again at 1.
            return error.lineno or 1 if error.filename == "<unknown>" else 1
        except (ValueError, RecursionError, MemoryError):
            return 1


class BoundedParser:
    """Parser for one response; once its budget of `MOST_PARSED` characters is spent, nothing parses."""

    def __init__(self) -> None:
        self._left = MOST_PARSED
        self._trees: dict[str, ast.Module | int] = {}

    @property
    def spent(self) -> bool:
        """Whether the budget is spent."""
        return self._left <= 0

    def tree(self, code: str) -> ast.Module | None:
        """The syntax tree; None if the code is invalid or the budget is spent."""
        tree = self._tried(code)
        return tree if isinstance(tree, ast.Module) else None

    def error_line(self, code: str) -> int | None:
        """The 1-based line of the invalid statement; None if the code is valid."""
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
