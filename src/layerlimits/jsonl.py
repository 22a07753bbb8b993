"""Read rows from JSON and JSON Lines files; errors name the file and the line."""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError

Row = dict[str, Any]

MOST_BYTES = 4 << 30
LONGEST_LINE_BYTES = 64 << 20
LONGEST_LIST_BYTES = 1 << 30
DEEPEST = 100

_INTEGER = re.compile(r"\d{1000,}")
_FIX_ROW = "correct or remove the line"


def rows(path: Path, *, fix: str = _FIX_ROW) -> Iterator[tuple[int, Row]]:
    r"""Iterate over the rows of a JSON Lines file with their one-based line numbers; blank lines are skipped.

    Lines end in "\n", "\r\n" or "\r"; other line separators, such as U+2028, may occur inside JSON strings. A byte
    order mark at the start is ignored. Rows are read lazily, so an invalid row raises when it is reached.

    Args:
        path: The file, in UTF-8.
        fix: The fix shown for an invalid line.
    Raises:
        UserError: The file cannot be read or is larger than 4 GiB, or a line is longer than 64 MiB, not UTF-8, not
            valid JSON, not a JSON object, nested deeper than 100 levels, or contains an integer or a character that
            Python cannot store.
    """
    try:
        with path.open("rb") as stream:
            for number, line in _lines(stream, path):
                where = f"{path}, line {number}"
                value = _decoded(line, where, fix)
                if not isinstance(value, dict):
                    raise UserError(f"{where} is not a JSON object but {_kind(value)}", fix)
                yield number, value
    except (OSError, ValueError) as error:
        raise UserError(f"failed to read {path}: {_reason(error)}", "give a JSON Lines file") from None


def list_of_rows(path: Path) -> list[Row]:
    """The rows of a JSON file that contains a list of objects; an empty file has no rows.

    Raises:
        UserError: See `rows`; also if the file is not a list of objects.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(LONGEST_LIST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UserError(f"failed to read {path}: {_reason(error)}", "give a JSON file") from None
    if len(data) > LONGEST_LIST_BYTES:
        raise UserError(
            f"{path} is larger than {LONGEST_LIST_BYTES >> 20} MiB", "write it as .jsonl, one item per line"
        )
    data = data.removeprefix(codecs.BOM_UTF8)
    fix = "correct the file, or name it .jsonl if it has one item per line"
    # The list itself adds one level of nesting.
    values = _decoded(data, str(path), fix, DEEPEST + 1) if data.strip() else []
    if not isinstance(values, list):
        raise UserError(f"{path} is not a list of JSON objects but {_kind(values)}", "write [{...}, ...], or .jsonl")
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            problem = f"{path} is not a list of JSON objects: item {number} is {_kind(value)}"
            raise UserError(problem, "write [{...}, ...], or .jsonl")
    return values


def _lines(stream: Any, path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers."""
    number, size = 0, 0
    while block := stream.readline(LONGEST_LINE_BYTES + 1):
        size += len(block)
        if size > MOST_BYTES:
            raise UserError(f"{path} is larger than {MOST_BYTES >> 30} GiB", "split the file")
        if len(block) > LONGEST_LINE_BYTES:
            problem = f"{path}, line {number + 1} is longer than {LONGEST_LINE_BYTES >> 20} MiB"
            raise UserError(problem, "write one item per line")
        if number == 0:
            block = block.removeprefix(codecs.BOM_UTF8)
        # bytes.splitlines splits at "\n", "\r\n" and "\r" only.
        for line in block.splitlines():
            number += 1
            if line.strip():
                yield number, line


def _decoded(data: bytes, where: str, fix: str, deepest: int = DEEPEST) -> Any:
    """The value of a JSON text; `where` names it in errors."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where} is not UTF-8: byte {error.start + 1} is 0x{data[error.start]:02x}", "save the file as UTF-8"
        ) from None
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is not valid JSON: {_fault(text, error)}", fix) from None
    except RecursionError:
        raise UserError(f"{where} is nested deeper than {deepest} levels", fix) from None
    except ValueError:
        # The only other ValueError that json.loads raises.
        digits = max((len(integer) for integer in _INTEGER.findall(text)), default=0)
        raise UserError(f"{where} contains an integer of {digits:,} digits, which is too long to read", fix) from None
    _check_depth(text, value, where, fix, deepest)
    _check_characters(text, value, where, fix)
    return value


def _fault(text: str, error: json.JSONDecodeError) -> str:
    place = f"line {error.lineno}, column {error.colno}" if "\n" in text else f"column {error.colno}"
    if text[error.pos : error.pos + 1] == "\0":
        return f"a NUL byte at {place}"
    return f"{error.msg} at {place}"


def _check_depth(text: str, value: Any, where: str, fix: str, deepest: int) -> None:
    if text.count("[") + text.count("{") <= deepest:
        return
    level = [value]
    for _ in range(deepest):
        nested = [item for item in level if isinstance(item, (list, dict))]
        level = [part for item in nested for part in (item.values() if isinstance(item, dict) else item)]
        if not level:
            return
    if any(isinstance(item, (list, dict)) for item in level):
        raise UserError(f"{where} is nested deeper than {deepest} levels", fix)


def _check_characters(text: str, value: Any, where: str, fix: str) -> None:
    """Reject lone surrogates, which only escapes can produce: neither files nor tokenizers accept them."""
    if "\\ud" not in text.lower():
        return
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        raise UserError(f"{where} contains the lone surrogate \\u{code:04x}, which is not a character", fix) from None


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _reason(error: OSError | ValueError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
