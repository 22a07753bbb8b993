"""Checks of paths given by the user, made before any work is done, and reading of TOML files."""

import errno
import glob
import os
import socket
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from typing import Any

import psutil
from xxhash import xxh3_128

from layerlimits.errors import UserError
from layerlimits.foreign import read_text

# Whether an existing file may be replaced.
IsOwn = Callable[[Path], bool]

# A folder that contains this database is a run folder.
RUN_FILE = "run.sqlite"
MANIFEST_FILE = "manifest.json"
# Names the process that writes to a run folder.
LOCK_FILE = "run.lock"
# Names of settings in messages; commands and functions of the API raise the same errors.
OUT = "the output folder (--out)"
DATA_DIR = "the data folder (--data-dir)"
CONFIG = "the settings file (--config)"
# Far more than any settings file.
_MAX_TOML_BYTES = 1_000_000


def given_path(text: str | Path, what: str, *, home: bool = False) -> Path:
    """Check that a path given by the user is possible; it need not exist.

    Afterwards `exists`, `is_dir` and similar methods of the path do not raise.

    Args:
        text: The path.
        what: Name of the setting in messages, such as "the data folder (--data-dir)".
        home: Whether a leading `~` is expanded.
    Raises:
        UserError: The home folder is unknown, the name is too long for the file system or contains a NUL byte, or a
            parent folder is not accessible.
    """
    try:
        path = Path(text).expanduser() if home else Path(text)
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except OSError as error:
        # A loop of links does not exist; `exists` agrees.
        if error.errno == errno.ELOOP:
            return path
        raise path_error(text, what, error) from None
    except (RuntimeError, ValueError) as error:
        raise path_error(text, what, error) from None
    return path


def path_error(path: str | Path, what: str, error: Exception) -> UserError:
    """The error for a path that the file system rejects."""
    shown = str(path)
    if len(shown) > 80:
        shown = f"{shown[:60]}... ({len(shown)} characters)"
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return UserError(f"invalid path for {what}, {shown!r}: {reason.rstrip('.')}", f"use another path for {what}")


def check_new_folder(out: Path) -> None:
    """Check that a new checkpoint can be written to a folder.

    Raises:
        UserError: The folder is not empty, not writable, or the current folder.
    """
    check_writable(out, empty=True)
    if out.resolve() == Path.cwd():
        # The finished checkpoint replaces an empty folder, which would delete the current folder of the shell.
        raise UserError(f"{str(out)!r} is the current folder", "choose a new output folder (--out)")


def unfinished(target: Path) -> Path:
    """Where a process writes a file or folder before it gets its name. What a killed process left there is removed.

    The name has the host and the process, so that two processes that write the same target do not disturb each other.
    """
    # File systems allow 255 bytes.
    begin = f".{target.name[:40]}.{socket.gethostname()[:60]}-"
    for left in target.parent.glob(f"{glob.escape(begin)}*.partial"):
        process = left.name.removeprefix(begin).removesuffix(".partial")
        if process.isdecimal() and not psutil.pid_exists(int(process)):
            if left.is_dir():
                rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
    return target.with_name(f"{begin}{os.getpid()}.partial")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends without an error, and otherwise disappears.

    Args:
        out: The folder; does not exist, or is empty.
    Raises:
        UserError: It cannot be written.
    """
    target = out.resolve()
    # In the nearest folder that exists: a failure leaves nothing.
    parent = next(folder for folder in target.parents if folder.is_dir())
    partial = unfinished(parent / target.name)
    try:
        partial.mkdir()
        yield partial
        target.parent.mkdir(parents=True, exist_ok=True)
        # Only an empty folder is replaced.
        partial.rename(target)
    except OSError as error:
        raise UserError(f"failed to write {out}: {error}", "choose another --out") from None
    finally:
        rmtree(partial, ignore_errors=True)


def check_writable(out: Path, *, empty: bool) -> None:
    """Check that an output folder is writable and, with `empty`, that it contains nothing.

    Raises:
        UserError: The folder is not empty or not writable; names the nearest existing folder.
    """
    path = given_path(out, OUT)
    if empty and path.exists() and (not path.is_dir() or any(_entries(path))):
        raise UserError(
            f"{out} already exists and is not empty", "choose another output folder (--out), or remove it first"
        )
    parent = path
    while not parent.exists():
        if parent.is_symlink():
            raise UserError(
                f"{parent} is a broken link", "choose another output folder (--out), or remove the link first"
            )
        parent = given_path(parent.parent, OUT)
    if not parent.is_dir():
        raise UserError(f"cannot create {out}: {parent} is a file", "choose another output folder (--out)")
    if not can_write(parent):
        raise UserError(f"cannot write to {out}: {parent} is read-only", "choose a writable output folder (--out)")


def _entries(folder: Path) -> list[Path]:
    try:
        # A process that was killed at its start leaves only this.
        return [entry for entry in folder.iterdir() if entry.name != LOCK_FILE]
    except OSError as error:
        raise path_error(folder, OUT, error) from None


def holds_run(folder: Path) -> bool:
    """Whether a folder is a run folder.

    Raises:
        UserError: See `given_path`.
    """
    return given_path(folder / RUN_FILE, "the run folder").exists()


def check_outside_run(out: Path) -> None:
    """Check that a folder is neither a run folder nor inside one, so that no files of a run are overwritten.

    Raises:
        UserError: It is; names the run folder.
    """
    place = out.resolve()
    for folder in (place, *place.parents):
        if holds_run(folder):
            raise UserError(f"{out} is in the run folder {folder}", "choose a folder outside it")


def check_output_file(out: Path, option: str, own: tuple[str, str], suffix: str, fix: str, is_own: IsOwn) -> Path:
    """Check that writing a file overwrites nothing but an older file of the same kind.

    Args:
        out: The path.
        option: Name of the option in messages.
        own: The kind of file in messages, such as ("a layerlimits report", "a report").
        suffix: Required suffix inside a run folder, where other names are reserved.
        fix: Fix in messages.
        is_own: Whether an existing file is of this kind.

    Returns:
        The path with links resolved.

    Raises:
        UserError: The path is a folder, a file of another kind, a file of a run, or not a valid path.
    """
    try:
        file = given_path(out, option).resolve()
    except (OSError, RuntimeError) as error:
        raise path_error(out, option, error) from None
    if file.is_dir():
        raise UserError(f"{out} is a folder", fix)
    if file.exists() and not is_own(file):
        raise UserError(f"{out} exists and is not {own[0]}", fix)
    # Names that a run may use later, such as the database's journal, are reserved as well.
    if holds_run(file.parent) and file.suffix != suffix:
        raise UserError(f"{out} is in a run folder, where the name of {own[1]} must end in {suffix}", fix)
    check_writable(file.parent, empty=False)
    return file


def can_write(folder: Path) -> bool:
    """Whether files can be created in a folder."""
    # For root, os.access always returns True; only an attempt shows a read-only file system or folder.
    probe = folder / f".layerlimits-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return bool(folder.stat().st_mode & 0o222)


def read_toml(file: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        UserError: The file does not exist, is not a regular file, is too large, or is not valid TOML.
    """
    if not given_path(file, CONFIG).exists():
        raise UserError(f"no such file: {file}", "give the path of a TOML file")
    text = read_text(file, _MAX_TOML_BYTES, "give the path of a TOML file of settings")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UserError(f"{file} is nested too deeply", "correct the file") from None
    # Errors of tomllib, and integers of thousands of digits.
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file} is not valid TOML: {reason}", "correct the file") from None


def cache_folder(name: str) -> Path:
    """The folder of this package's cache for one kind of files; it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "layerlimits" / name


def file_hash(file: Path) -> str:
    """A hash of the content of a file, of 32 hexadecimal digits."""
    # Not a cryptographic hash, which would take minutes for a large model.
    total = xxh3_128()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 22):
            total.update(chunk)
    return total.hexdigest()
