"""Extract the program from a response: from fenced blocks, from prose, or as a continuation of the prompt."""

import ast
import re
from collections.abc import Sequence
from textwrap import dedent, indent

from layerlimits.scoring.fences import CODE_STARTS, Block, blocks, unquoted
from layerlimits.scoring.syntax import BoundedParser

_DOCTEST = re.compile(r"[ \t]*(?:>>>|\.\.\.) ?")
_QUOTED = re.compile(r" {0,3}>(?!>>)")
# A line without any of these is either a complete statement or not Python.
_GOES_ON = re.compile(r"[(\[{\\@]|:\s*(?:#.*)?$|'''|\"\"\"")
# Longer answers are truncated; this is about 30,000 tokens of code.
_LONGEST = 120_000


def extract_code(response: str, entry_point: str, prompt: str = "") -> str | None:
    """Extract the Python source that should define `entry_point`; None if the response contains no code.

    Among several fenced blocks, the last one that defines the function, parses and is closed is preferred. Without
    fences, it is the longest run of lines that parses and defines the function. If `prompt`, the start of a function,
    is given, a response may also be the function's body; the imports and helpers that precede the function in the
    prompt are then prepended to other answers, too.

    This takes at most a second or two for any response: the response is truncated to 120,000 characters, and the
    amount of parsing is bounded (`BoundedParser`). Reasoning is not removed here; see `transcript`.
    """
    text = response[:_LONGEST].replace("\r\n", "\n").replace("\r", "\n")
    fenced = [block for block in blocks(text) if block.code.strip()]
    finder = _Finder(entry_point, prompt)
    return finder.from_blocks(fenced) if fenced else finder.from_prose(text)


class _Finder:
    """Finds the code that defines `entry_point` or continues `prompt`."""

    def __init__(self, entry_point: str, prompt: str) -> None:
        self.entry_point, self.prompt = entry_point, prompt
        self.parser = BoundedParser()
        name = re.escape(entry_point)
        self._definition = re.compile(rf"^(?:(?:async +)?def|class) +{name}\b|^{name} *=", re.MULTILINE)

    def from_blocks(self, fenced: Sequence[Block]) -> str | None:
        defining = [block for block in fenced if self.defines(block.code)]
        # Start with the last block, so that a limited parsing budget is spent on the preferred blocks.
        parsed = {block.code: self.parser.tree(block.code) is not None for block in reversed(defining)}
        ranked = sorted(defining, key=lambda block: (parsed[block.code], block.closed))
        if ranked:
            return self._with_preamble(ranked[-1].code)
        for block in reversed(fenced):
            if self.prompt and (whole := self._continued(block.code)):
                return whole
        # Valid Python that defines another function: let the test decide.
        python = (block.code for block in reversed(fenced) if CODE_STARTS.search(block.code))
        return next((code for code in python if self.parser.tree(code)), None)

    def from_prose(self, text: str) -> str | None:
        for form in (text, dedent(text), _without_quotes(text), _without_doctest(text)):
            if self.defines(form):
                return self._with_preamble(self._bare(form))
        return self._continued(text) if self.prompt else None

    def defines(self, code: str) -> bool:
        return self._definition.search(code) is not None

    def _bare(self, text: str) -> str:
        """The code in prose: the longest run of lines that parses and defines the function, from the earliest start."""
        lines = text.split("\n")
        starts = [number for number, line in enumerate(lines) if CODE_STARTS.match(line)]
        passed = 0
        for start in starts:
            if start < passed or not self._may_start(lines[start]):
                continue
            end = self._end(lines, start)
            code = "\n".join(lines[start:end])
            if end > start and self.defines(code):
                return code
            # Any later start before this end would hit the same error.
            passed = end
            if self.parser.spent:
                break
        return "\n".join(lines[starts[0] if starts else 0 :])

    def _may_start(self, line: str) -> bool:
        return bool(_GOES_ON.search(line)) or self.parser.tree(line) is not None

    def _end(self, lines: Sequence[str], start: int) -> int:
        """End of the longest run of lines from `start` that parses, at an unindented line; `start` if none parses."""
        end = len(lines)
        while end > start:
            error_line = self.parser.error_line("\n".join(lines[start:end]))
            if error_line is None:
                return end
            # The statement with the error begins at an unindented line, and everything before it is valid.
            end = min(start + error_line, end) - 1
            while end > start and (not lines[end].strip() or lines[end][0].isspace()):
                end -= 1
        return start

    def _continued(self, body: str) -> str | None:
        """The prompt followed by the function's body; None if that does not parse or the function returns nothing."""
        margin = " " * 4
        for form in (body, margin + body.lstrip(), indent(dedent(body), margin)):
            lines = form.strip("\n").split("\n")
            # Unindented lines are not part of the body.
            end = next((n for n, line in enumerate(lines) if line.strip() and not line[0].isspace()), len(lines))
            whole = self.prompt.rstrip() + "\n" + "\n".join(lines[:end]) + "\n"
            if self._returns(whole):
                return whole
        return None

    def _returns(self, code: str) -> bool:
        kinds = (ast.Return, ast.Yield, ast.YieldFrom, ast.Raise)
        tree = self.parser.tree(code)
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)] if tree else []
        named = [node for node in functions if node.name == self.entry_point]
        return any(isinstance(inner, kinds) for node in named for inner in ast.walk(node))

    def _with_preamble(self, code: str) -> str:
        """Prepend the prompt's imports and helpers, which the answer may rely on."""
        start = re.search(rf"^def +{re.escape(self.entry_point)}\b", self.prompt, re.MULTILINE)
        preamble = self.prompt[: start.start()].strip() if start else ""
        if not preamble or code.lstrip().startswith(preamble) or "from __future__" in code:
            return code
        return f"{preamble}\n\n{code}"


def _without_quotes(text: str) -> str:
    """Strip "> " from quoted lines and leave other lines unchanged."""
    return "\n".join(unquoted(line, 1) if _QUOTED.match(line) else line for line in text.split("\n"))


def _without_doctest(text: str) -> str:
    """The lines of an interactive session without the prompts ">>> " and "... "."""
    lines = [line for line in text.split("\n") if _DOCTEST.match(line)]
    return "\n".join(_DOCTEST.sub("", line, count=1) for line in lines)
