"""The program in a response: from fenced blocks, from prose, or as the continuation of a prompt."""

import ast
import re
from collections.abc import Sequence
from textwrap import dedent, indent

from layerlimits.scoring.fences import CODE_STARTS, Block, blocks, unquoted
from layerlimits.scoring.syntax import BoundedParser

_DOCTEST = re.compile(r"[ \t]*(?:>>>|\.\.\.) ?")
_QUOTED = re.compile(r" {0,3}>(?!>>)")
# A line without these is a whole statement, or no Python.
_GOES_ON = re.compile(r"[(\[{\\@]|:\s*(?:#.*)?$|'''|\"\"\"")
# Longer answers are cut: some 30,000 tokens of code.
_LONGEST = 120_000


def extract_code(response: str, entry_point: str, prompt: str = "") -> str | None:
    """The Python source in a response that should define `entry_point`; None where there is no code.

    Of several fenced blocks it is the last closed one that defines it and parses, then less. Without a fence it is
    the longest stretch of lines that parses and defines it. With `prompt`, the start of a function, a response that
    is its body continues it; what comes before the function in the prompt (imports, helpers) is then put before any
    other answer, too.

    Takes a second or two at most, whatever the response: it is cut to its first 120,000 characters, and what is parsed
    is bounded (`BoundedParser`). Thoughts are not looked for here; see `transcript`.
    """
    text = response[:_LONGEST].replace("\r\n", "\n").replace("\r", "\n")
    fenced = [block for block in blocks(text) if block.code.strip()]
    finder = _Finder(entry_point, prompt)
    return finder.from_blocks(fenced) if fenced else finder.from_prose(text)


class _Finder:
    """Looks for the code that defines `entry_point`, or continues `prompt`."""

    def __init__(self, entry_point: str, prompt: str) -> None:
        self.entry_point, self.prompt = entry_point, prompt
        self.parser = BoundedParser()
        name = re.escape(entry_point)
        self._definition = re.compile(rf"^(?:(?:async +)?def|class) +{name}\b|^{name} *=", re.MULTILINE)

    def from_blocks(self, fenced: Sequence[Block]) -> str | None:
        defining = [block for block in fenced if self.defines(block.code)]
        # The last first: where what may be parsed is spent, it is spent on these.
        parsed = {block.code: self.parser.tree(block.code) is not None for block in reversed(defining)}
        ranked = sorted(defining, key=lambda block: (parsed[block.code], block.closed))
        if ranked:
            return self._with_preamble(ranked[-1].code)
        for block in reversed(fenced):
            if self.prompt and (whole := self._continued(block.code)):
                return whole
        # Python, but another function: for the test to judge.
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
        """The code in prose: the first start from which some stretch parses and defines the function, its longest."""
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
            # A later start before this end meets the same error.
            passed = end
            if self.parser.spent:
                break
        return "\n".join(lines[starts[0] if starts else 0 :])

    def _may_start(self, line: str) -> bool:
        return bool(_GOES_ON.search(line)) or self.parser.tree(line) is not None

    def _end(self, lines: Sequence[str], start: int) -> int:
        """Where the longest stretch from `start` that parses ends, at a line at the margin; `start` if none does."""
        end = len(lines)
        while end > start:
            error_line = self.parser.error_line("\n".join(lines[start:end]))
            if error_line is None:
                return end
            # The statement that holds the error begins at the margin, and everything before it is Python.
            end = min(start + error_line, end) - 1
            while end > start and (not lines[end].strip() or lines[end][0].isspace()):
                end -= 1
        return start

    def _continued(self, body: str) -> str | None:
        """The prompt with its function's body; None if that does not parse or the function would return nothing."""
        margin = " " * 4
        for form in (body, margin + body.lstrip(), indent(dedent(body), margin)):
            lines = form.strip("\n").split("\n")
            # What begins at the margin is no part of the body.
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
        """The code after the prompt's imports and helpers, which an answer may rely on."""
        start = re.search(rf"^def +{re.escape(self.entry_point)}\b", self.prompt, re.MULTILINE)
        preamble = self.prompt[: start.start()].strip() if start else ""
        if not preamble or code.lstrip().startswith(preamble) or "from __future__" in code:
            return code
        return f"{preamble}\n\n{code}"


def _without_quotes(text: str) -> str:
    """The lines of a quotation without their "> "; other lines as they are."""
    return "\n".join(unquoted(line, 1) if _QUOTED.match(line) else line for line in text.split("\n"))


def _without_doctest(text: str) -> str:
    """The lines of an interactive session without their ">>> " and "... "."""
    lines = [line for line in text.split("\n") if _DOCTEST.match(line)]
    return "\n".join(_DOCTEST.sub("", line, count=1) for line in lines)
