"""Find fenced code blocks in a response, including malformed ones."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from textwrap import dedent

_FENCE = re.compile(
    r"(?P<quotes>[ \t]*(?:>[ \t]?)*)(?P<item>(?:(?:[-*+]|\d{1,3}[.)])[ \t]+)?)"
    r"(?P<mark>`{3,}|~{3,})[ \t]*(?P<info>[^\n]*)$"
)
_QUOTE = re.compile(r"[ \t]*>[ \t]?")
_LANGUAGE = re.compile(r"[A-Za-z][\w+.#-]*$")
CODE_STARTS = re.compile(r"(?:async +def|def|class|from|import|@)\b|@|[A-Za-z_]\w* *=")


@dataclass(frozen=True)
class Block:
    """A fenced block, dedented; `closed` is False if the response ends inside the block."""

    code: str
    closed: bool


@dataclass
class _Open:
    """A block being read: its fence, the number of quote signs before each line, and its lines."""

    mark: str
    quotes: int
    lines: list[str] = field(default_factory=list)

    def block(self, closed: bool) -> Block:
        return Block(dedent("\n".join(self.lines)), closed)


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a text, in order.

    A fence opens with ``` or ~~~, with or without a language, also inside a list or a quotation. A second opening fence
    closes the current block, because models sometimes open a fence twice or forget to close one.
    """
    current: _Open | None = None
    for line in text.split("\n"):
        if current is None:
            current, whole = _opened(line)
            if whole:
                yield whole
            continue
        content = unquoted(line, current.quotes)
        fence = _FENCE.match(content)
        if fence and not fence["item"] and fence["mark"].startswith(current.mark):
            info = fence["info"].strip()
            if not info:
                yield current.block(closed=True)
                current = None
                continue
            if _LANGUAGE.match(info):
                if any(map(str.strip, current.lines)):
                    yield current.block(closed=False)
                current.lines = []
                continue
        if content.rstrip().endswith(current.mark) and content.strip() != current.mark:
            current.lines.append(content.rstrip().removesuffix(current.mark))
            yield current.block(closed=True)
            current = None
        else:
            current.lines.append(content)
    if current is not None:
        yield current.block(closed=False)


def _opened(line: str) -> tuple[_Open | None, Block | None]:
    """The block a line opens, or a complete block if the code is between two fences on one line."""
    fence = _FENCE.match(line)
    if not fence:
        return None, None
    mark, info = fence["mark"], fence["info"].strip()
    opened = _Open(mark, fence["quotes"].count(">"))
    # "```def f(x): return x" has code in place of the language name.
    if CODE_STARTS.match(info):
        if info.endswith(mark):
            return None, Block(info.removesuffix(mark), True)
        opened.lines.append(info)
    return opened, None


def unquoted(line: str, signs: int) -> str:
    """Strip up to that many quotation signs from the start of the line."""
    for _ in range(signs):
        quote = _QUOTE.match(line)
        if not quote:
            break
        line = line[quote.end() :]
    return line
