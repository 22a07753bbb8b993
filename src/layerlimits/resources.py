"""Free disk space and memory, and the errors if there is too little."""

import errno
import os
import shutil
import socket
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from layerlimits.errors import StorageError, UserError

# Memory limits of containers, and what is used of them, in versions 2 and 1 of control groups.
_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def free_disk(folder: Path) -> int:
    """Free bytes of the file system of a folder, which need not exist yet."""
    place = folder.resolve()
    return shutil.disk_usage(next(parent for parent in (place, *place.parents) if parent.exists())).free


def free_memory() -> int:
    """Bytes that a process can still allocate: memory that is available, and free swap, within a container's limit."""
    free = int(psutil.virtual_memory().available + psutil.swap_memory().free)
    for limit, used in _CGROUPS:
        # "max" if there is no limit.
        with suppress(OSError, ValueError):
            free = min(free, int(limit.read_text()) - int(used.read_text()))
    return max(0, free)


def machine() -> str:
    """Identifies the memory of this machine: its host name and size, and those of its GPU if torch has one."""
    torch = sys.modules.get("torch")
    about = f"{socket.gethostname()}, {size(psutil.virtual_memory().total)}"
    if torch is None or not torch.cuda.is_available():
        return about
    device = torch.cuda.get_device_properties(0)
    return f"{about}, {device.name}, {size(device.total_memory)}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation of torch failed, on a GPU, or on a CPU, where the error has no class of its own."""
    torch = sys.modules.get("torch")
    of_gpu = torch is not None and isinstance(error, torch.OutOfMemoryError)
    return of_gpu or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


def full(folder: Path) -> StorageError:
    """The error for a full disk."""
    return StorageError(
        f"the disk is full: {size(free_disk(folder))} are free in {folder}",
        "free space; the same command continues; what is stored stays",
    )


def is_full(error: BaseException) -> bool:
    """Whether an error of any library says that a disk is full or a quota is exhausted."""
    numbers = (errno.ENOSPC, errno.EDQUOT)
    texts = [f"os error {number}" for number in numbers] + [os.strerror(number) for number in numbers]
    return getattr(error, "errno", None) in numbers or any(text in str(error) for text in texts)


def check_disk(what: str, needed: float, folder: Path) -> None:
    """Check that a file system has room.

    Args:
        what: What needs the room, for the message.
        needed: Bytes.
        folder: A folder of the file system.
    Raises:
        StorageError: It does not.
    """
    free = free_disk(folder)
    if needed > free:
        raise StorageError(
            f"{what} needs about {size(needed)} of disk space, and {folder} has {size(free)}",
            "free space and repeat the command, which continues; or choose another output folder (--out)",
        )


def check_memory(what: str, needed: float, fix: str, free: int | None = None) -> None:
    """Check that memory has room.

    Args:
        what: What needs the room, for the message.
        needed: Bytes.
        fix: What to do if there is too little.
        free: Free bytes; of this machine if None.
    Raises:
        UserError: There is too little.
    """
    free = free_memory() if free is None else free
    if needed > free:
        raise UserError(f"{what} needs about {size(needed)} of memory, and {size(free)} are free", fix)


def size(count: float) -> str:
    """A number of bytes in words: "0.4 MB", "12.5 GB"."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
