"""The last step before foreign code: another user, no rights, no new namespaces, and limits that cannot be raised."""

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CLONE_NEWUSER = 0x10000000
_CAPABILITY_VERSION_3 = 0x20080522


def seal(settings: dict[str, Any]) -> None:
    """Give up everything that foreign code must not have.

    Raises:
        RuntimeError: capabilities are left: nothing may run then.
    """
    # The kernel's first choice when memory runs out, before the evaluator.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    if settings["confined"]:
        _drop_rights(settings["uid"])
    for name, amount in settings["limits"].items():
        limit = getattr(resource, f"RLIMIT_{name}")
        # One second between the signal that can be caught and the one that cannot.
        resource.setrlimit(limit, (amount, amount + 1 if name == "CPU" else amount))


def _drop_rights(uid: int | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # A user namespace without a map: its processes are counted apart from others of this user, and the kernel makes
    # no further one for a user without a map. Where it is forbidden, so is making one later.
    libc.unshare(_CLONE_NEWUSER)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    libc.capset(header, (ctypes.c_uint32 * 6)())
    # Cleared by the changes above.
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    status = Path("/proc/self/status").read_text()
    left = [line for line in status.splitlines() if line.startswith(("CapEff", "CapPrm")) and int(line.split()[1], 16)]
    if left or os.getuid() == 0:
        raise RuntimeError(f"rights are left: uid {os.getuid()}, {left}")
