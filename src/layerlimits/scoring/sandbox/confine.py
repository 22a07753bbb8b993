"""Command lines that confine a process: with bubblewrap, with kernel namespaces, or not at all."""

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Literal

Kind = Literal["bubblewrap", "namespaces", "unsafe"]

# "nobody" owns no files and, unlike root, is subject to the process limit.
NOBODY = 65534
MIB = 2**20
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
# Programs that use processes need the second one for semaphores.
_WRITABLE = ("/tmp", "/dev/shm")
# Folders that may be hidden by the root of the namespaces.
_COVERED = ("/tmp", "/mnt", "/srv", "/media", "/var/tmp")
# When memory runs out, the kernel should kill the program first; inside, /proc is read-only.
_FIRST_TO_GO = ("/bin/sh", "-c", 'echo 1000 > /proc/self/oom_score_adj; exec "$@"', "sh")
_LIBRARIES = ("/lib", "/lib64", "/lib32", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
_INSIDE = Path(__file__).parent / "inside"
_START = "import sys; sys.path.insert(0, {!r}); from inside.start import main; main()"
# No site-packages and no user settings.
_FLAGS = ("-S", "-s", "-P", "-B", "-c")
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    # The same order of sets in every run.
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Each arena of a thread takes 64 MiB of address space.
    "MALLOC_ARENA_MAX": "2",
}


@dataclass(frozen=True)
class Limits:
    """Resource limits of one sandbox. Sizes in bytes; `memory` is per process, `folder` per writable folder."""

    seconds: float
    memory: int = 1024 * MIB
    processes: int = 32
    file: int = 8 * MIB
    folder: int = 16 * MIB
    files: int = 64

    def resources(self, kind: Kind) -> dict[str, int]:
        """The kernel's resource limits, by their name without RLIMIT_."""
        limits = {"CPU": ceil(self.seconds), "AS": self.memory, "FSIZE": self.file, "NOFILE": self.files, "CORE": 0}
        # Without a namespace, all processes of the user would count.
        return limits if kind == "unsafe" else limits | {"NPROC": self.processes}


def command(kind: Kind, role: str, limits: Limits, channels: Sequence[int] = ()) -> list[str]:
    """The command line that starts the confined process of a role, "program" or "test"."""
    uid = NOBODY if os.getuid() == 0 else None
    settings = {
        "role": role,
        "channels": list(channels),
        "uid": uid,
        "confined": kind != "unsafe",
        "limits": limits.resources(kind),
        "packages": str(_numpy().parent) if kind == "unsafe" else "/packages",
    }
    home = str(_INSIDE.parent) if kind == "unsafe" else "/code"
    python = [os.path.realpath(sys.executable), *_FLAGS, _START.format(home), json.dumps(settings)]
    if kind == "bubblewrap":
        return [*_bubblewrap(limits), *python]
    if kind == "namespaces":
        return _namespaces(limits, python)
    return python


def _bubblewrap(limits: Limits) -> list[str]:
    words = [*_FIRST_TO_GO, _bwrap(), "--die-with-parent", "--new-session", "--cap-drop", "ALL"]
    words += [f"--unshare-{namespace}" for namespace in ("pid", "net", "ipc", "uts", "cgroup-try")]
    if os.getuid():
        words += ["--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)]
    else:
        # Needed to become nobody; seal() then drops both capabilities.
        words += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    shown = _shown()
    # Create parent folders explicitly: those that bubblewrap creates implicitly are accessible to root only.
    for parent in sorted({str(Path(target).parent) for _, target in shown} - {"/"} | {"/dev"}):
        words += ["--dir", parent]
    for source, target in shown:
        words += ["--ro-bind", source, target]
    for device in _DEVICES:
        words += ["--dev-bind", device, device]
    words += ["--proc", "/proc", "--remount-ro", "/proc"]
    for folder in _WRITABLE:
        words += ["--perms", "1777", "--size", str(limits.folder), "--tmpfs", folder]
    return [*words, "--remount-ro", "/", "--chdir", "/tmp", "--"]


def _namespaces(limits: Limits, python: list[str]) -> list[str]:
    binds = _shown()
    plan: dict[str, object] = {"root": _covered(binds), "binds": binds, "devices": _DEVICES, "writable": _WRITABLE}
    plan |= {"size": limits.folder, "uid": NOBODY, "command": python}
    return [sys.executable, "-S", "-s", "-P", "-B", str(_INSIDE / "launch.py"), json.dumps(plan)]


def _covered(binds: Sequence[tuple[str, str]]) -> str:
    """A folder over which the new root is mounted, inside the namespace only; nothing that is shown lies in it."""
    folders = [folder for folder in _COVERED if Path(folder).is_dir()]
    return next(
        (folder for folder in folders if not any(source.startswith(f"{folder}/") for source, _ in binds)), _COVERED[0]
    )


def _shown() -> list[tuple[str, str]]:
    """(source, target) paths the sandbox may read: Python, its libraries, numpy, and the code in `inside`."""
    prefix = os.path.realpath(sys.base_prefix)
    program = os.path.realpath(sys.executable)
    shown = [(path, path) for path in _LIBRARIES if Path(path).exists()]
    # A prefix such as /usr contains much more than Python, so only the interpreter and libraries are exposed.
    shown += [(program, program)] if prefix in ("/", "/usr") else [(prefix, prefix)]
    if prefix not in ("/", "/usr") and not program.startswith(f"{prefix}/"):
        shown.append((program, program))
    shown.append((str(_INSIDE), "/code/inside"))
    packages = [_numpy(), _numpy().with_name("numpy.libs")]
    return shown + [(str(package), f"/packages/{package.name}") for package in packages if package.is_dir()]


def _numpy() -> Path:
    spec = importlib.util.find_spec("numpy")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).resolve().parent


def has_bubblewrap() -> bool:
    """Whether `bwrap` is installed; it may still not work."""
    return shutil.which("bwrap") is not None


def _bwrap() -> str:
    """The full name of `bwrap`, which may lie anywhere on the user's PATH; the sandbox has another PATH."""
    return str(Path(shutil.which("bwrap") or "bwrap").absolute())
