"""Reading files from outside: every reader bounds size and depth, and raises one error that names file and place."""

import codecs
import json
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError

DEEPEST = 100
DOWNLOAD_AGAIN = "download the model again"
# Far more than any configuration, index, recipe or template.
MOST_OBJECT_BYTES = 64 << 20

_INTEGER = re.compile(r"\d{1000,}")


def check_file(file: Path, most: int | None, fix: str) -> int:
    """Check that a file can be opened without waiting and is not larger than expected, and return its size in bytes.

    Args:
        file: The file.
        most: Maximum size in bytes; None for files that are not read as a whole.
        fix: The fix shown for a file that is too large or not a regular file.

    Raises:
        UserError: The file does not exist, is a folder, a device or a pipe, or is too large.
    """
    try:
        about = file.stat()
    except (OSError, ValueError) as error:
        raise unreadable(file, error) from None
    if stat.S_ISDIR(about.st_mode):
        raise UserError(f"cannot read {file}: it is a folder, not a file", fix)
    if not stat.S_ISREG(about.st_mode):
        # Opening a pipe waits for its other end, and devices never end.
        raise UserError(f"cannot read {file}: it is not a regular file", fix)
    if most is not None and about.st_size > most:
        raise UserError(f"{file} is too large: {about.st_size:,} bytes, maximum {most:,}", fix)
    return about.st_size


def unreadable(file: Path, error: OSError | ValueError) -> UserError:
    """The error for a file that cannot be opened or read."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return UserError(f"cannot read {file}: {reason}", "check the file and its permissions")


def read_text(file: Path, most: int, fix: str) -> str:
    """Read a text file in UTF-8; a byte order mark at the start is ignored.

    Args:
        file: The file.
        most: Maximum size in bytes.
        fix: The fix shown for a file that is too large or not a regular file.

    Raises:
        UserError: See `check_file`; also if the file cannot be read or is not UTF-8.
    """
    check_file(file, most, fix)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise unreadable(file, error) from None
    return decoded(data, str(file))


def read_object(file: Path, fix: str = DOWNLOAD_AGAIN) -> dict[str, Any]:
    """Read a JSON file that contains one object of at most 64 MiB.

    Raises:
        UserError: See `read_text` and `json_value`; also if the value is not an object.
    """
    value = json_value(read_text(file, MOST_OBJECT_BYTES, fix), str(file), fix)
    if not isinstance(value, dict):
        raise UserError(f"{file} is not a JSON object but {kind(value)}", fix)
    return value


def decoded(data: bytes, where: str) -> str:
    """The text of bytes in UTF-8, without a byte order mark; `where` names them in errors.

    Raises:
        UserError: The bytes are not UTF-8; names the first wrong byte.
    """
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where} is not UTF-8: byte {error.start + 1} is 0x{error.object[error.start]:02x}",
            "save the file as UTF-8",
        ) from None


def json_value(text: str, where: str, fix: str, deepest: int = DEEPEST) -> Any:
    """The value of a JSON text.

    Args:
        text: The text.
        where: Names the text in errors, such as "items.jsonl, line 3".
        fix: The fix shown in errors.
        deepest: Maximum number of nested lists and objects.

    Raises:
        UserError: The text is not valid JSON, is nested too deeply, or contains an integer or a character that Python
            cannot store.
    """
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


def kind(value: Any) -> str:
    """What a JSON value is, for errors: "a list", "a number"."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


@contextmanager
def refusing(problem: str, fix: str) -> Iterator[None]:
    """Inside the block, every failure of a library that reads a foreign file becomes one error.

    Args:
        problem: What failed, without the reason, such as "failed to load the tokenizer from m".
        fix: The fix.

    Raises:
        UserError: The block raised an exception; a `UserError` is raised unchanged.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{problem}: {reason(error)}", fix) from None
    except BaseException as error:
        # A panic in a library written in Rust is not an Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise UserError(f"{problem}: {reason(error)}", fix) from None


def reason(error: BaseException) -> str:
    """The message of an exception in one line of at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__


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
