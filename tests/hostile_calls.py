"""Further programs that a sandbox must hold: system calls and files that namespaces and limits do not cover.

As the SPIES of tests/hostile.py: each f returns 2 only if what it tries is impossible. Calls have numbers of their own
on each machine; where they are not known, these programs are not run.
"""

import os

from hostile import _spy

# x86-64 and AArch64.
_NUMBERS = {
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "syslog": (103, 116),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "init_module": (175, 105),
    "kexec_load": (246, 104),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "acct": (163, 89),
    "pivot_root": (155, 41),
    "fsopen": (430, 430),
    "open_tree": (428, 428),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "quotactl": (179, 60),
    "pidfd_getfd": (438, 438),
}
_PLACES = {"x86_64": 0, "aarch64": 1}
_PLACE = _PLACES.get(os.uname().machine)
_FAMILIES = {
    "kernel routes": 16,
    "raw packets": 17,
    "reliable datagrams": 21,
    "a bus of devices": 29,
    "cluster messages": 30,
    "bluetooth": 31,
    "the kernel's ciphers": 38,
    "virtual machines": 40,
    "multiplexed connections": 41,
    "fast packets": 44,
}


def _call(name: str, *arguments: object) -> str:
    """Code that raises if the system call fails."""
    number = _NUMBERS[name][_PLACE or 0]
    given = "".join(f", {argument}" for argument in arguments)
    return f"libc = ctypes.CDLL(None, use_errno=True)\nassert libc.syscall({number}{given}) >= 0, ctypes.get_errno()"


# Machine code: the 32-bit system call "getpid", whose number means another call in 64 bits.
_INT80 = (
    "import mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(bytes.fromhex('b814000000cd80c3'))\n"
    "run = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\nassert run() >= 0"
)

CALLS: dict[str, str] = {
    "reads the session keyring": _spy(_call("keyctl", 6, -3, 0, 0), _call("keyctl", 11, -3, 0, 0)),
    "reads the user's keyring": _spy(_call("keyctl", 6, -4, 0, 0), _call("keyctl", 6, -5, 0, 0)),
    "clears keyrings": _spy(*(_call("keyctl", 7, ring) for ring in (-3, -4, -5))),
    "adds a key": _spy(_call("add_key", "b'user'", "b'layerlimits'", "b'x'", 1, -3)),
    "searches a key": _spy(_call("request_key", "b'user'", "b'layerlimits'", 0, 0)),
    "joins a keyring": _spy(_call("keyctl", 1, "b'layerlimits'")),
    "shared memory": _spy(_call("shmget", 0, 1 << 30, 0o1600)),
    "semaphores": _spy(_call("semget", 0, 1, 0o1600)),
    "messages": _spy(_call("msgget", 0, 0o1600)),
    "a file in memory": _spy(_call("memfd_create", "b'x'", 0), "os.memfd_create('x')"),
    "secret memory": _spy(_call("memfd_secret", 0)),
    "queues of calls": _spy(_call("io_uring_setup", 8, "ctypes.create_string_buffer(128)")),
    "programs in the kernel": _spy(_call("bpf", 0, "ctypes.create_string_buffer(128)", 128)),
    "faults of memory": _spy(_call("userfaultfd", 1)),
    "counters of the processor": _spy(
        _call("perf_event_open", "ctypes.create_string_buffer(b'\\1' + b'\\0' * 127)", 0, -1, -1, 0)
    ),
    "traces itself": _spy(_call("ptrace", 0, 0, 0, 0)),
    "reads its parent's memory": _spy(_call("process_vm_readv", "os.getppid()", 0, 0, 0, 0, 0)),
    "writes its parent's memory": _spy(_call("process_vm_writev", "os.getppid()", 0, 0, 0, 0, 0)),
    "the kernel's log": _spy(_call("syslog", 3, "ctypes.create_string_buffer(4096)", 4096), _call("syslog", 10, 0, 0)),
    "opens by handle": _spy(_call("open_by_handle_at", -100, "ctypes.create_string_buffer(64)", 0)),
    "watches all files": _spy(_call("fanotify_init", 0x0000000C, 0)),
    "kernel modules": _spy(_call("init_module", "b'x'", 1, "b''")),
    "another kernel": _spy(_call("kexec_load", 0, 0, 0, 0)),
    "restarts": _spy(_call("reboot", 0xFEE1DEAD, 672274793, 0x01234567, 0)),
    "swap": _spy(_call("swapon", "b'/tmp/x'", 0)),
    "accounts": _spy("open('/tmp/x', 'w')\n" + _call("acct", "b'/tmp/x'")),
    "another root": _spy(_call("pivot_root", "b'/tmp'", "b'/tmp'")),
    "new file systems": _spy(_call("fsopen", "b'tmpfs'", 0), _call("open_tree", -100, "b'/'", 1)),
    "the domain's name": _spy(_call("setdomainname", "b'x'", 1)),
    "the time of day": _spy(_call("settimeofday", "ctypes.create_string_buffer(16)", 0)),
    "quotas": _spy(_call("quotactl", 0x80000200, "b'/dev/vda'", 0, 0)),
    "descriptors of its parent": _spy(
        *(_call("pidfd_getfd", "os.pidfd_open(os.getppid())", place, 0) for place in (0, 3))
    ),
    "is killed last": _spy(
        "open('/proc/self/oom_score_adj', 'w').write('0')",
        "open('/proc/self/oom_adj', 'w').write('-17')",
        "open(f'/proc/{os.getppid()}/oom_score_adj', 'w').write('0')",
        "assert int(open('/proc/self/oom_score_adj').read()) < 1000",
    ),
    "settings of its process": _spy(
        *(
            f"os.write(os.open('/proc/self/{name}', os.O_WRONLY), b'{value}')"
            for name, value in (("coredump_filter", 255), ("timerslack_ns", 1), ("loginuid", 0), ("clear_refs", 5))
        ),
        "os.write(os.open('/proc/self/comm', os.O_WRONLY), b'bash')",
    ),
    "its memory through a file": _spy("os.write(os.open('/proc/self/mem', os.O_RDWR), b'')"),
    "fills shared memory": _spy(
        "open('/dev/shm/x', 'wb').write(b'x' * 6_000_000)\n" * 4 + "os.link('/dev/shm/x', '/tmp/y')"
    ),
    "large files in shared memory": _spy("open('/dev/shm/x', 'wb').write(b'x' * 9_000_000)"),
    "many large files": _spy("for n in range(4): open(f'/dev/shm/{n}', 'wb').write(b'x' * 6_000_000)"),
    "devices in shared memory": _spy("os.mknod('/dev/shm/d', 0o60666, os.makedev(254, 0))", "open('/dev/shm/../vda')"),
    "its sandbox's code": _spy("open('/code/inside/seal.py', 'a')", "os.rename('/code', '/tmp/code')"),
}
CALLS |= {
    f"sockets of {name}": _spy(*(f"socket.socket({family}, {kind})" for kind in (1, 2, 3, 5)))
    for name, family in _FAMILIES.items()
}
if _PLACE == 0:
    CALLS["calls of another word size"] = _spy(
        "libc = ctypes.CDLL(None)\nassert libc.syscall(0x40000000 | 41, 1, 1, 0) >= 0", _INT80
    )
if _PLACE is None:
    CALLS = {}

# Honest programs with means that few exercises need.
HONEST = {
    "a pool of processes": (
        "import multiprocessing\ndef g(x): return x + 1\ndef f(x):\n"
        "    with multiprocessing.get_context('fork').Pool(2) as pool: return pool.map(g, [x])[0]"
    ),
    "sixteen threads": (
        "import threading\ndef f(x):\n    barrier, seen = threading.Barrier(16), []\n"
        "    def run():\n        barrier.wait()\n        seen.append(1)\n"
        "    threads = [threading.Thread(target=run) for _ in range(16)]\n"
        "    for thread in threads: thread.start()\n    for thread in threads: thread.join()\n"
        "    return x + len(seen) // 16"
    ),
    "a pool of threads": (
        "from concurrent.futures import ThreadPoolExecutor\ndef f(x):\n"
        "    with ThreadPoolExecutor(16) as pool: return x + sum(pool.map(lambda _: 1, range(16))) // 16"
    ),
    "a pool of processes with futures": (
        "from concurrent.futures import ProcessPoolExecutor\nimport multiprocessing\ndef g(x): return x + 1\n"
        "def f(x):\n    with ProcessPoolExecutor(2, multiprocessing.get_context('fork')) as pool:\n"
        "        return list(pool.map(g, [x]))[0]"
    ),
    "a queue between processes": (
        "import multiprocessing as m\ndef f(x):\n    c = m.get_context('fork')\n    q = c.Queue()\n"
        "    p = c.Process(target=lambda: q.put(x + 1))\n    p.start()\n    value = q.get()\n"
        "    p.join()\n    return value"
    ),
    "shared memory of Python": (
        "from multiprocessing import shared_memory\ndef f(x):\n"
        "    block = shared_memory.SharedMemory(create=True, size=16)\n    block.buf[0] = x\n"
        "    value = block.buf[0] + 1\n    block.close()\n    block.unlink()\n    return value"
    ),
    "asyncio": "import asyncio\nasync def g(x): return x + 1\ndef f(x): return asyncio.run(g(x))",
    "a pair of sockets": (
        "import socket\ndef f(x):\n    a, b = socket.socketpair()\n    a.send(bytes([x + 1]))\n    return b.recv(1)[0]"
    ),
    "a subprocess": (
        "import subprocess, sys\ndef f(x):\n"
        "    return int(subprocess.check_output([sys.executable, '-S', '-c', f'print({x} + 1)']))"
    ),
    "products of numpy": (
        "import numpy as np\ndef f(x): return int((np.ones((64, 64)) @ np.ones((64, 1)))[0, 0]) // 64 + x"
    ),
    "an IntEnum": "import enum\nclass E(enum.IntEnum):\n    TWO = 2\ndef f(x): return E.TWO",
    "a Fraction": "from fractions import Fraction\ndef f(x): return Fraction(4, 2)",
    "a Decimal": "from decimal import Decimal\ndef f(x): return Decimal('2.0')",
    "an array without dimensions": "import numpy\ndef f(x): return numpy.array(x + 1)",
}
