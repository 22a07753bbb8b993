"""Read rows from JSON, JSON Lines and CSV files; errors name the file and the line."""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError
from layerlimits.foreign import DEEPEST, check_file, decoded, json_value, kind, read_text, unreadable

Row = dict[str, Any]

MOST_BYTES = 4 << 30
LONGEST_LINE_BYTES = 64 << 20
LONGEST_LIST_BYTES = 1 << 30
_FIX_ROW = "correct or remove the line"


def rows(path: Path, *, fix: str = _FIX_ROW) -> Iterator[tuple[int, Row]]:
    r"""Iterate over the rows of a JSON Lines file with their one-based line numbers; blank lines are skipped.

    Lines end in "\n", "\r\n" or "\r"; other line separators, such as U+2028, may occur inside JSON strings. A byte
    order mark at the start is ignored. Rows are read lazily, so an invalid row raises when it is reached. A file named
    ".gz" is decompressed.

    Args:
        path: The file, in UTF-8.
        fix: The fix shown for an invalid line.
    Raises:
        UserError: The file cannot be read or is larger than 4 GiB, or a line is longer than 64 MiB, not UTF-8, not
            valid JSON, not a JSON object, nested deeper than 100 levels, or contains an integer or a character that
            Python cannot store.
    """
    check_file(path, None, "give a JSON Lines file")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            for number, line in _lines(stream, path):
                where = f"{path}, line {number}"
                value = json_value(decoded(line, where), where, fix)
                if not isinstance(value, dict):
                    raise UserError(f"{where} is not a JSON object but {kind(value)}", fix)
                yield number, value
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"cannot read {path}: {error}", "download the file again, or decompress it") from None
    except OSError as error:
        raise unreadable(path, error) from None


def csv_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file (commas, double quotes), whose first line names the columns; blank lines are skipped.

    Raises:
        UserError: The file cannot be read, is larger than 1 GiB, or has no valid header; or a row has another number of
            cells.
    """
    text = read_text(path, LONGEST_LIST_BYTES, "write it as .jsonl, one item per line")
    csv.field_size_limit(LONGEST_LINE_BYTES)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found = []
    try:
        names = next(reader, [])
        if len(set(names)) < len(names):
            raise UserError(f"{path}, line 1 names a column twice", "correct the names of the columns")
        for cells in reader:
            if cells and len(cells) != len(names):
                raise UserError(
                    f"{path}, line {reader.line_num} has {len(cells)} cells, expected {len(names)}", _FIX_ROW
                )
            if cells:
                found.append(dict(zip(names, cells, strict=True)))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num} is not valid CSV: {error}", _FIX_ROW) from None
    return found


def list_of_rows(path: Path) -> list[Row]:
    """The rows of a JSON file that contains a list of objects; an empty file has no rows.

    Raises:
        UserError: See `rows`; also if the file is not a list of objects.
    """
    text = read_text(path, LONGEST_LIST_BYTES, "write it as .jsonl, one item per line")
    fix = "correct the file, or name it .jsonl if it has one item per line"
    # The list itself adds one level of nesting.
    values = json_value(text, str(path), fix, DEEPEST + 1) if text.strip() else []
    if not isinstance(values, list):
        raise UserError(f"{path} is not a list of JSON objects but {kind(values)}", "write [{...}, ...], or .jsonl")
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            problem = f"{path} is not a list of JSON objects: item {number} is {kind(value)}"
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
