"""The files people name: settings to read, and folders to write, asked for before any work is done."""

import os
import tomllib
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError

# The database that makes a folder a run folder.
RUN_FILE = "run.sqlite"


def check_writable(out: Path, *, empty: bool) -> None:
    """Refuse an output folder that cannot be written to, or (with `empty`) already holds something.

    Raises:
        UserError: with the nearest existing folder and what is wrong with it.
    """
    if empty and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} already exists and is not empty", "choose another --out, or remove it first")
    parent = out
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise UserError(f"{out} cannot be made: {parent} is a file", "choose another --out")
    if not _can_write(parent):
        raise UserError(f"{out} cannot be written: {parent} is read-only", "choose a writable --out")


def holds_run(folder: Path) -> bool:
    """Whether a folder is a run folder."""
    return (folder / RUN_FILE).exists()


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
        UserError: there is no such file, or it is not valid TOML.
    """
    try:
        return tomllib.loads(file.read_text())
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"no such file: {file}", "give the path of a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not valid TOML: {error}", "mend the file") from None
