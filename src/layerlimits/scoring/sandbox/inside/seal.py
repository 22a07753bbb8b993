"""The last step before untrusted code runs: drop the user, all privileges and namespaces, and fix resource limits."""

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path
from typing import Any

from .syscalls import restrict_calls

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CAPABILITY_VERSION_3 = 0x20080522


def seal(settings: dict[str, Any]) -> None:
    """Give up all privileges that untrusted code must not have.

    Raises:
        RuntimeError: Some capabilities are left, so nothing may run.
    """
    if settings["confined"]:
        _drop_rights(settings["uid"])
    else:
        # When memory runs out, the kernel should kill this process first, not the evaluator.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
    for name, amount in settings["limits"].items():
        limit = getattr(resource, f"RLIMIT_{name}")
        # One second between the catchable signal and the one that cannot be caught.
        resource.setrlimit(limit, (amount, amount + 1 if name == "CPU" else amount))


def _drop_rights(uid: int | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # A user namespace without an id map: its processes are counted separately from others of this user, and no further
    # namespace can be created in it. If creating one is forbidden here, it is also forbidden later.
    libc.unshare(_CLONE_NEWUSER)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    libc.capset(header, (ctypes.c_uint32 * 6)())
    # The changes above cleared this setting.
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    restrict_calls(libc)
    status = Path("/proc/self/status").read_text()
    left = [line for line in status.splitlines() if line.startswith(("CapEff", "CapPrm")) and int(line.split()[1], 16)]
    if left or os.getuid() == 0:
        raise RuntimeError(f"privileges were not dropped: uid {os.getuid()}, {left}")
