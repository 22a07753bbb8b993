"""A filter of system calls: those that reach past namespaces and limits do not exist for untrusted code.

Keys belong to a user and not to a namespace; sockets of families such as vsock are not part of a network namespace;
memory of System V segments, memory files and io_uring is not part of a process's limit; the rest widens the kernel's
surface without use to a program that solves an exercise. See seccomp(2) and linux/bpf_common.h.
"""

import ctypes
import errno
import os
import struct

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
# Offsets in the data of a call: its number, the machine, the low half of its first argument.
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16
# Calls of another word size, as x86-64 numbers them.
_X32 = 0x40000000
_UNIX, _INET, _INET6 = 1, 2, 10
_JOIN_SESSION_KEYRING = 1

# The machine as the kernel names it, the numbers of socket and keyctl, and those of the calls that do not exist:
# add_key, request_key, keyctl; shmget, semget, msgget; memfd_create, memfd_secret; io_uring_setup, io_uring_enter,
# io_uring_register; bpf, userfaultfd, perf_event_open; ptrace, process_vm_readv, process_vm_writev; syslog.
_MACHINES = {
    "x86_64": (
        0xC000003E,
        41,
        250,
        (248, 249, 250, 29, 64, 68, 319, 447, 425, 426, 427, 321, 323, 298, 101, 310, 311, 103),
    ),
    "aarch64": (
        0xC00000B7,
        198,
        219,
        (217, 218, 219, 194, 190, 186, 279, 447, 425, 426, 427, 280, 282, 241, 117, 270, 271, 116),
    ),
}


def restrict_calls(libc: ctypes.CDLL) -> None:
    """Leave the user's session keyring and install the filter, on machines whose call numbers are known.

    Raises:
        RuntimeError: The kernel refuses the filter, so nothing may run.
    """
    known = _MACHINES.get(os.uname().machine)
    if known is None:
        return
    machine, socket, keyctl, denied = known
    libc.syscall(keyctl, _JOIN_SESSION_KEYRING, None)
    code = _filter(machine, socket, denied)
    held = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: the number of instructions, and where they are.
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held)))
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, program, 0, 0):
        raise RuntimeError(f"no filter of system calls: {os.strerror(ctypes.get_errno())}")


def _filter(machine: int, socket: int, denied: tuple[int, ...]) -> bytes:
    """The filter as struct sock_filter instructions."""
    missing, allow = "missing", "allow"
    # Operation, value, and where to go if the comparison holds and if not; None is the next instruction.
    code = [
        (_LOAD, _MACHINE, None, None),
        (_JUMP_EQUAL, machine, None, missing),
        (_LOAD, _NUMBER, None, None),
        (_JUMP_AT_LEAST, _X32, missing, None),
        *((_JUMP_EQUAL, number, missing, None) for number in denied),
        (_JUMP_EQUAL, socket, None, allow),
        (_LOAD, _FIRST_ARGUMENT, None, None),
        *((_JUMP_EQUAL, family, allow, None) for family in (_UNIX, _INET, _INET6)),
        (_RETURN, _ERRNO | errno.EAFNOSUPPORT, None, None),
        (_RETURN, _ERRNO | errno.ENOSYS, None, None),
        (_RETURN, _ALLOW, None, None),
    ]
    places = {missing: len(code) - 2, allow: len(code) - 1}
    # A distance counts from the next instruction.
    distances = [
        [0 if target is None else places[target] - place - 1 for target in targets]
        for place, (_, _, *targets) in enumerate(code)
    ]
    return b"".join(
        struct.pack("HBBI", operation, *distance, value)
        for (operation, value, *_), distance in zip(code, distances, strict=True)
    )
