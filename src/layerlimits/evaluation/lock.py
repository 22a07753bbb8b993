"""One writer per run folder. Readers need no lock.

The lock is a POSIX lock on `run.lock`, which the kernel releases when its process ends, however it ends. The file says
who holds it. Where the file system has no locks, the process named there decides.
"""

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from layerlimits.errors import StorageError, UserError
from layerlimits.evaluation.database import is_network
from layerlimits.paths import LOCK_FILE
from layerlimits.stopping import Stopped

_TAKEN = (errno.EACCES, errno.EAGAIN)
_MAX_BYTES = 10_000
# The locks of this process, which POSIX locks do not separate.
_held: set[Path] = set()


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Inside the block, this process alone writes to the run folder, which is created if necessary.

    Raises:
        UserError: Another process writes to it, or may do so on another host.
        StorageError: The folder cannot be written.
    """
    place = folder.resolve() / LOCK_FILE
    if place in _held:
        raise _taken(folder, _holder())
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    file = _locked(folder, place)
    try:
        _held.add(place)
        try:
            yield
        except Stopped as stopped:
            stopped.saved_in = folder
            raise
        finally:
            _held.discard(place)
            place.unlink(missing_ok=True)
            # A command that was refused before it stored anything leaves nothing.
            with suppress(OSError):
                for empty in made:
                    empty.rmdir()
    finally:
        os.close(file)


def _locked(folder: Path, place: Path) -> int:
    """The opened lock file, which is locked and names this process."""
    while True:
        file = _open(folder, place)
        try:
            _claim(folder, file)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), place.stat()):
                    return file
        except BaseException:
            os.close(file)
            raise
        # Its holder has removed it since.
        os.close(file)


def _open(folder: Path, place: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(
            f"cannot write to {folder}: {error.strerror}", "make it writable, or choose another run folder (--out)"
        ) from None


def _claim(folder: Path, file: int) -> None:
    """Lock the file and name this process in it, or say who is named there."""
    locked = True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise _taken(folder, _read(file)) from None
        # The file system has no locks.
        locked = False
    before = _read(file)
    if before and not _is_stale(before, folder, locked=locked):
        if before.get("host") == socket.gethostname():
            raise _taken(folder, before)
        raise UserError(
            f"{folder} is marked as in use by process {before.get('pid')} on host {before.get('host')}, since "
            f"{before.get('since')}; this host ({socket.gethostname()}) cannot check whether it still runs",
            f"if it has ended, remove {folder / LOCK_FILE} and repeat the command",
        )
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps(_holder()).encode(), 0)


def _is_stale(before: dict[str, Any], folder: Path, *, locked: bool) -> bool:
    """Whether the process that is named in a lock file is gone."""
    if locked and not is_network(folder):
        # All users of a local file system share this kernel, which would have refused the lock.
        return True
    if before.get("host") != socket.gethostname():
        return False
    return locked or not _runs(before)


def _runs(before: dict[str, Any]) -> bool:
    try:
        started = float(psutil.Process(int(before["pid"])).create_time())
        return abs(started - float(before["started"])) < 1
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def _holder() -> dict[str, Any]:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    started = psutil.Process().create_time()
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "started": started}


def _read(file: int) -> dict[str, Any]:
    """What a lock file says; empty after an orderly end, or if its process was killed while it wrote."""
    try:
        content = json.loads(os.pread(file, _MAX_BYTES, 0) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _taken(folder: Path, holder: dict[str, Any]) -> UserError:
    return UserError(
        f"{folder} is in use by process {holder.get('pid', '?')} on host {holder.get('host', '?')}, which writes to it "
        f"since {holder.get('since', '?')}",
        "wait until it ends, or choose another run folder (--out); `report` and `verify` can read this one",
    )
