"""A substitute for bubblewrap on machines without it: namespaces and a root that contains only listed paths.

Runs outside the sandbox, before any untrusted code, with a plan as JSON: the folder to mount the `root` over, `binds`
[[source, target], ...] read-only, `devices`, `writable` folders, their `size` in bytes, `command` to run.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DETACH = 2
_PR_SET_PDEATHSIG = 1
# Mount flags that a user namespace may not clear, as used by statvfs and by mount.
_LOCKED = {2: 2, 4: 4, 8: 8, 1024: 1024, 2048: 2048, 4096: 1 << 21}

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Create the namespaces, wait for the command and exit with its status."""
    plan = json.loads(sys.argv[1])
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # When memory runs out, the kernel should kill the program first; inside, /proc is read-only.
    Path("/proc/self/oom_score_adj").write_text("1000")
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", _NEWNS | _NEWUTS | _NEWIPC | _NEWPID | _NEWNET | (_NEWUSER if uid else 0))
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{plan['uid']} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{plan['uid']} {gid} 1")
    os._exit(_first(plan))


def _first(plan: dict[str, Any]) -> int:
    """Start the first process of the new namespaces, which starts the command; returns the exit status.

    The command is not the first process itself, because the kernel shields that one from most signals.
    """
    return _in_child(lambda: os._exit(_in_child(lambda: os.execv(plan["command"][0], plan["command"]))), plan)


def _in_child(action: Callable[[], object], plan: dict[str, Any] | None = None) -> int:
    """Run an action in a child that dies with this process; `plan` describes its new root. Returns the exit status."""
    child = os.fork()
    if child == 0:
        try:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if plan:
                _enter(plan)
            action()
        finally:
            os._exit(125)
    # Only the command keeps the channels open, so that its end is noticed.
    os.closerange(0, 1024)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def _enter(plan: dict[str, Any]) -> None:
    """Build a new root on a tmpfs over a folder, visible in this namespace only, and leave the old root."""
    root = Path(plan["root"])
    _mount(None, "/", None, _REC | _PRIVATE)
    _mount("tmpfs", root, "tmpfs", _NOSUID | _NODEV, "mode=755,size=1m")
    os.chdir("/")
    old = root / "old"
    for folder in (old, root / "proc", root / "tmp", root / "dev"):
        folder.mkdir()
    _call("pivot_root", str(root).encode(), str(old).encode())
    os.chdir("/")
    for source, target in plan["binds"]:
        _bind(Path("/old") / source.lstrip("/"), Path(target))
    for device in plan["devices"]:
        Path(device).touch()
        _mount(Path("/old") / device.lstrip("/"), device, None, _BIND)
    _mount("proc", "/proc", "proc", _NOSUID | _NODEV | _NOEXEC | _RDONLY)
    Path("/dev/shm").mkdir()
    for folder in plan["writable"]:
        _mount("tmpfs", folder, "tmpfs", _NOSUID | _NODEV, f"mode=1777,size={plan['size']}")
    _call("umount2", b"/old", _DETACH)
    Path("/old").rmdir()
    _mount(None, "/", None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV)
    os.chdir("/tmp")


def _bind(source: Path, target: Path) -> None:
    """Bind-mount a folder or file read-only, including everything mounted inside."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(source, target, None, _BIND | _REC)
    lines = Path("/old/proc/self/mountinfo").read_text().splitlines()
    mounted = [line.split()[4].replace(r"\040", " ") for line in lines]
    for place in mounted:
        if place == str(target) or place.startswith(f"{target}/"):
            has = os.statvfs(place).f_flag
            locked_flags = sum(flag for known, flag in _LOCKED.items() if has & known)
            _mount(None, place, None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV | locked_flags)


def _mount(source: object, target: object, kind: str | None, flags: int, options: str = "") -> None:
    texts = [None if text is None else str(text).encode() for text in (source, target, kind)]
    _call("mount", texts[0], texts[1], texts[2], ctypes.c_ulong(flags), options.encode())


def _call(name: str, *arguments: Any) -> None:
    if getattr(_libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}", str(arguments))


if __name__ == "__main__":
    main()
