"""The files people name: settings to read, and folders to write, asked for before any work is done."""

import errno
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError

# The database that makes a folder a run folder.
RUN_FILE = "run.sqlite"
# Far more than settings take. Larger files are no settings, and devices have no end.
_MAX_TOML_BYTES = 1_000_000


def given_path(text: str | Path, what: str, *, home: bool = False) -> Path:
    """A path that a user named. What is not there is fine; what can never be there is not.

    After this no look at the path itself raises: `exists`, `is_dir` and the like answer.

    Args:
        what: what the path stands for in messages, such as "--data-dir".
        home: whether a leading `~` is expanded.
    Raises:
        UserError: an unknown home folder, a name too long for the file system, a NUL byte, or a folder on the way that
            may not be entered.
    """
    try:
        path = Path(text).expanduser() if home else Path(text)
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except OSError as error:
        # Nothing is at the end of a loop of links, which `exists` says, too.
        if error.errno == errno.ELOOP:
            return path
        raise path_error(text, what, error) from None
    except (RuntimeError, ValueError) as error:
        raise path_error(text, what, error) from None
    return path


def path_error(path: str | Path, what: str, error: Exception) -> UserError:
    """The error for a path that the file system refuses."""
    shown = str(path)
    if len(shown) > 80:
        shown = f"{shown[:60]}... ({len(shown)} characters)"
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return UserError(f"{what} {shown!r} cannot be used: {reason.rstrip('.')}", f"give another path for {what}")


def check_new_folder(out: Path) -> None:
    """Refuse a place for a new checkpoint that is taken, cannot be written to, or is the current folder.

    Raises:
        UserError: see `check_writable`.
    """
    check_writable(out, empty=True)
    if out.resolve() == Path.cwd():
        # The finished folder replaces an empty one, and whoever works in that one would be left outside.
        raise UserError(f"{str(out)!r} is the current folder", "give --out the name of a folder to be made in it")


def check_writable(out: Path, *, empty: bool) -> None:
    """Refuse an output folder that cannot be written to, or (with `empty`) already holds something.

    Raises:
        UserError: with the nearest existing folder and what is wrong with it.
    """
    path = given_path(out, "--out")
    if empty and path.exists() and (not path.is_dir() or any(_entries(path))):
        raise UserError(f"{out} already exists and is not empty", "choose another --out, or remove it first")
    parent = path
    while not parent.exists():
        if parent.is_symlink():
            raise UserError(f"{parent} is a link that leads nowhere", "choose another --out, or remove the link first")
        parent = given_path(parent.parent, "--out")
    if not parent.is_dir():
        raise UserError(f"{out} cannot be made: {parent} is a file", "choose another --out")
    if not _can_write(parent):
        raise UserError(f"{out} cannot be written: {parent} is read-only", "choose a writable --out")


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise path_error(folder, "--out", error) from None


def holds_run(folder: Path) -> bool:
    """Whether a folder is a run folder.

    Raises:
        UserError: see `given_path`.
    """
    return given_path(folder / RUN_FILE, "the run folder").exists()


def check_outside_run(out: Path) -> None:
    """Refuse a folder in which files of a run would be overwritten: a run folder, or a folder in one.

    Raises:
        UserError: with the run folder.
    """
    place = out.resolve()
    for folder in (place, *place.parents):
        if holds_run(folder):
            raise UserError(f"{out} lies in the run folder {folder}", "choose a folder outside it")


def _can_write(folder: Path) -> bool:
    # For root os.access always agrees; only the attempt tells of a read-only file system or folder.
    probe = folder / f".layerlimits-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return bool(folder.stat().st_mode & 0o222)


def read_toml(file: Path) -> dict[str, Any]:
    """What a TOML file says.

    Raises:
        UserError: there is no such file, it is no file of settings by its kind or size, or it is not valid TOML.
    """
    try:
        # Looked at first: opening a pipe waits for its other end.
        about = file.stat()
        if stat.S_ISDIR(about.st_mode):
            raise UserError(f"no such file: {file} is a folder", "give the path of a TOML file")
        if not stat.S_ISREG(about.st_mode):
            raise UserError(f"{file} is not a regular file", "give the path of a TOML file")
        if about.st_size > _MAX_TOML_BYTES:
            raise UserError(
                f"{file} has {about.st_size:,} bytes, and settings take {_MAX_TOML_BYTES:,} at most",
                "give the path of a TOML file of settings",
            )
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"no such file: {file}", "give the path of a TOML file") from None
    except OSError as error:
        raise path_error(file, "--config", error) from None
    except RecursionError:
        raise UserError(f"{file} is nested too deeply for settings", "correct the file") from None
    # tomllib's own errors, bytes that are no text, integers of thousands of digits, and a NUL in the path.
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file} is not valid TOML: {reason}", "correct the file") from None
