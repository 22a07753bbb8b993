"""Python functions: from a response to a program, and from a program to a verdict by running its test."""

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import dedent, indent

from layerlimits.scoring.sandbox import Program, run
from layerlimits.types import Response, Verdict

_FENCE = re.compile(r"(?P<margin>[ \t]*(?:>[ \t]?)?)(?P<mark>`{3,}|~{3,})[ \t]*(?P<info>[^\n]*)$")
_TOP = re.compile(r"(?:async +def|def|class|from|import|@)\b|@|[A-Za-z_]\w* *=")
_DOCTEST = re.compile(r"[ \t]*(?:>>>|\.\.\.) ?")
_LARGEST = 200_000
# A start or an end of code among prose is looked for in so many lines; each try parses.
_MOST_TRIES = 400


@dataclass(frozen=True)
class _Block:
    """A fenced block; `closed` is false where the response ends within it."""

    code: str
    closed: bool


def extract_code(response: str, entry_point: str, prompt: str = "") -> str | None:
    """The Python source in a response that should define `entry_point`; None where there is no code.

    Of several fenced blocks it is the last closed one that defines it and parses, then less. Without a fence it is
    the longest stretch of lines that parses and defines it. With `prompt`, the start of a function, a response that
    is its body continues it; what comes before the function in the prompt (imports, helpers) is then put before any
    other answer, too.
    """
    text = response[:_LARGEST].replace("\r\n", "\n")
    blocks = [block for block in _blocks(text) if block.code.strip()]
    return _from_blocks(blocks, entry_point, prompt) if blocks else _from_prose(text, entry_point, prompt)


def _from_blocks(blocks: list[_Block], entry_point: str, prompt: str) -> str | None:
    defining = [block for block in blocks if _defines(block.code, entry_point)]
    ranked = sorted(defining, key=lambda block: (_parses(block.code), block.closed))
    if ranked:
        return _with_preamble(ranked[-1].code, entry_point, prompt)
    for block in reversed(blocks):
        if prompt and (whole := _continued(block.code, entry_point, prompt)):
            return whole
    # Python, but another function: for the test to judge.
    python = [block for block in blocks if _parses(block.code) and _TOP.search(block.code)]
    return python[-1].code if python else None


def _from_prose(text: str, entry_point: str, prompt: str) -> str | None:
    for form in (text, dedent(text), _without_doctest(text)):
        if _defines(form, entry_point):
            found = _bare(form, entry_point)
            return _with_preamble(found, entry_point, prompt)
    return _continued(text, entry_point, prompt) if prompt else None


def _blocks(text: str) -> Iterator[_Block]:
    """The fenced blocks, without their indentation; a fence may open with ``` or ~~~, named or not."""
    lines: list[str] | None = None
    mark = ""
    for line in text.split("\n"):
        fence = _FENCE.match(line)
        if lines is None:
            if fence:
                mark, info = fence["mark"], fence["info"].strip()
                # "```def f(x): return x" has code where the language's name stands.
                lines = [info.removesuffix(mark)] if _TOP.match(info) else []
                if lines and info.endswith(mark):
                    yield _Block(lines[0], True)
                    lines = None
        elif fence and fence["mark"].startswith(mark) and not fence["info"].strip():
            yield _Block(dedent("\n".join(lines)), True)
            lines = None
        elif line.rstrip().endswith(mark) and line.strip() != mark:
            yield _Block(dedent("\n".join([*lines, line.rstrip().removesuffix(mark)])), True)
            lines = None
        else:
            lines.append(line)
    if lines is not None:
        yield _Block(dedent("\n".join(lines)), False)


def _defines(code: str, name: str) -> bool:
    return re.search(rf"^(?:(?:async +)?def|class) +{re.escape(name)}\b|^{re.escape(name)} *=", code, re.M) is not None


def _parses(code: str) -> bool:
    return _tree(code) is not None


def _tree(code: str) -> ast.Module | None:
    with warnings.catch_warnings():
        # Such as an escape that Python does not know: a matter of the answer's author.
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _bare(text: str, entry_point: str) -> str:
    """The code in prose: the first start from which some stretch parses and defines the function, its longest."""
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if _TOP.match(line)][:_MOST_TRIES]
    for start in starts:
        for end in _ends(lines, start):
            code = "\n".join(lines[start:end])
            if not _defines(code, entry_point):
                break
            if _parses(code):
                return code
    first = next(number for number in starts if _defines("\n".join(lines[number:]), entry_point))
    return "\n".join(lines[first:])


def _ends(lines: Sequence[str], start: int) -> Iterator[int]:
    """Where a stretch may end: the end of the text, then before each line that begins at the margin, from the last."""
    yield len(lines)
    margins = [n for n in range(len(lines) - 1, start, -1) if lines[n].strip() and not lines[n][0].isspace()]
    yield from margins[:_MOST_TRIES]


def _without_doctest(text: str) -> str:
    """The lines of an interactive session without their ">>> " and "... "."""
    lines = [line for line in text.split("\n") if _DOCTEST.match(line)]
    return "\n".join(_DOCTEST.sub("", line, count=1) for line in lines)


def _continued(body: str, entry_point: str, prompt: str) -> str | None:
    """The prompt with its function's body; None if that does not parse or the function would return nothing."""
    margin = " " * 4
    forms = [body, margin + body.lstrip(), indent(dedent(body), margin)]
    for form in forms:
        lines = form.strip("\n").split("\n")
        # What begins at the margin is no part of the body.
        end = next((n for n, line in enumerate(lines) if line.strip() and not line[0].isspace()), len(lines))
        whole = prompt.rstrip() + "\n" + "\n".join(lines[:end]) + "\n"
        if _returns(whole, entry_point):
            return whole
    return None


def _returns(code: str, entry_point: str) -> bool:
    kinds = (ast.Return, ast.Yield, ast.YieldFrom, ast.Raise)
    tree = _tree(code)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)] if tree else []
    return any(isinstance(inner, kinds) for node in functions if node.name == entry_point for inner in ast.walk(node))


def _with_preamble(code: str, entry_point: str, prompt: str) -> str:
    """The code after the prompt's imports and helpers, which an answer may rely on."""
    start = re.search(rf"^def +{re.escape(entry_point)}\b", prompt, re.M)
    preamble = prompt[: start.start()].strip() if start else ""
    if not preamble or code.lstrip().startswith(preamble) or "from __future__" in code:
        return code
    return f"{preamble}\n\n{code}"


@dataclass(frozen=True)
class Answer:
    """A response with what judges it: `test` as in `Program`, `prompt` where the response may continue it."""

    response: Response
    test: str
    entry_point: str
    prompt: str = ""


def judge_all(answers: Sequence[Answer], *, seconds: float = 10, unsafe: bool = False) -> list[Verdict]:
    """The verdicts on responses, run over all cores, in their order.

    Args:
        seconds: processor time of a program.
        unsafe: run without a sandbox, even where one is possible.
    Raises:
        UserError: there is something to run, and no sandbox is possible here.
    """
    codes = [extract_code(answer.response.text, answer.entry_point, answer.prompt) for answer in answers]
    verdicts = [_unrunnable(answer.response, code) for answer, code in zip(answers, codes, strict=True)]
    wanted = [number for number, verdict in enumerate(verdicts) if verdict is None]
    programs = [Program(codes[n] or "", answers[n].test, answers[n].entry_point) for n in wanted]
    outcomes = run(programs, seconds=seconds, unsafe=unsafe)
    for number, outcome in zip(wanted, outcomes, strict=True):
        right = outcome.passed
        why = "" if right else outcome.why
        verdicts[number] = Verdict("correct" if right else "wrong", float(right), codes[number] or "", why)
    return [verdict for verdict in verdicts if verdict is not None]


def _unrunnable(response: Response, code: str | None) -> Verdict | None:
    """The verdict on what cannot be run: no code, cut code, or no Python."""
    if code is not None and _parses(code):
        return None
    if response.finish == "length":
        return Verdict("truncated", 0.0, code or "", f"cut after {len(response.tokens)} tokens")
    if code is None:
        return Verdict("no_answer", 0.0, why="no code")
    return Verdict("error", 0.0, code, "not Python")
