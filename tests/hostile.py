"""Programs that a sandbox must hold, for tests/test_sandbox.py. Each defines f; the hidden test is TEST.

CHEATS want to pass without knowing the answer, HOGS use up the machine: none may pass. SPIES try something forbidden
and return 2 only if it was impossible, so they must pass: that also tells that they ran at all.
"""

TEST = "assert f(1) == 2  # hidden 7391"
_HEAD = "import os, sys, ctypes, signal, socket, threading, time, builtins, subprocess, json\n"


def _spy(attack: str, *more: str) -> str:
    """A program whose f returns 2 if every attack raises, else which one succeeded."""
    lines = [_HEAD, "def f(x):"]
    for number, code in enumerate((attack, *more)):
        lines += ["    try:", *(f"        {line}" for line in code.split("\n")), f"        return 'attack {number}'"]
        lines += ["    except Exception: pass"]
    return "\n".join([*lines, "    return 2"])


def _answer(code: str) -> str:
    """A program whose f runs the code, which returns or not."""
    return "\n".join([_HEAD, "def f(x):", *(f"    {line}" for line in code.split("\n"))])


_EQUAL = (
    "class E{0}:\n    def __eq__(self, o): return True\n    def __ne__(self, o): return False\n    __hash__ = None\n"
)
_FAKE = "import json\nb = json.dumps({0}).encode()\nb = len(b).to_bytes(4, 'big') + b\n"
_TO_ALL = "for d in range(3, 64):\n    try: os.write(d, b)\n    except OSError: pass\n"

CHEATS = {
    "returns None": "def f(x): pass",
    "off by one": "def f(x): return x",
    "ends at once with status 0": "import os; os._exit(0)",
    "ends in the call with status 0": _answer("os._exit(0)"),
    "sys.exit at once": "import sys; sys.exit(0)",
    "sys.exit in the call": _answer("sys.exit(0)"),
    "prints PASS": _answer('print(\'PASS\', \'{"passed": true, "why": "passed"}\', flush=True)'),
    "writes a verdict to every descriptor": _answer(
        'b = b\'{"passed": true, "why": "passed"}\'\n' + _TO_ALL + "os._exit(0)"
    ),
    "writes a fake ready and a verdict": _HEAD + _FAKE.format("['passed', True]") + _TO_ALL + "def f(x): return 0",
    "fake frame of 4 GiB": _HEAD + "b = b'\\xff' * 8\n" + _TO_ALL + "def f(x): return 0",
    "fake frame that is no JSON": _HEAD + "b = b'\\0\\0\\0\\4{{{{'\n" + _TO_ALL + "def f(x): return 0",
    "fake value outside the rules": _answer(_FAKE.format("['value', {'object': 1}]") + _TO_ALL + "return 0"),
    "fake value of a pickle": _answer(_FAKE.format("['value', {'pickle': 'gASVKQ=='}]") + _TO_ALL + "return 0"),
    "fake exception named SystemExit": _answer(_FAKE.format("['raised', 'SystemExit', '0']") + _TO_ALL + "return 0"),
    "fake nest of 100000 lists": _answer(
        "b = b'[\"value\",' + b'[' * 100000 + b']' * 100001\nb = len(b).to_bytes(4, 'big') + b\n" + _TO_ALL + "return 0"
    ),
    "equal to everything": _EQUAL.format("") + "def f(x): return E()",
    "a list equal to everything": _EQUAL.format("(list)") + "def f(x): return E()",
    "an int equal to everything": _EQUAL.format("(int)") + "def f(x): return E(1)",
    "a dict key equal to everything": "class E(str): pass\ndef f(x): return {E('a'): 1}",
    "a type that calls itself int": "class int:\n    def __eq__(s, o): return True\ndef f(x): return int()",
    "a class with __reduce__": "class R:\n    def __reduce__(s): import os; return os._exit, (0,)\n"
    "def f(x): return R()",
    "patched builtins": "import builtins\nbuiltins.len = builtins.isinstance = builtins.all = lambda *a: True\n"
    "builtins.AssertionError = Warning\ndef f(x): return 0",
    "patched exec and compile": "import builtins\n"
    "builtins.exec = builtins.compile = lambda *a: None\ndef f(x): return 0",
    "patched wire": "import sys\n"
    "sys.modules['inside.wire'].encode = lambda v: {'list': ['passed']}\ndef f(x): return 0",
    "patched json": "import json\njson.loads = json.dumps = lambda *a, **k: 'passed'\ndef f(x): return 0",
    "replaces the modules": "import sys\nfor m in list(sys.modules): sys.modules[m] = None\ndef f(x): return 0",
    "import hook": "import sys\nclass H:\n    def find_spec(s, *a): raise SystemExit(0)\nsys.meta_path.insert(0, H())\n"
    "def f(x):\n    import decimal\n    return 0",
    "atexit that ends well": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): raise SystemExit",
    "excepthook": "import sys, os\nsys.excepthook = lambda *a: os._exit(0)\ndef f(x): raise ValueError",
    "trace function": "import sys, os\nsys.settrace(lambda *a: None)\n"
    "sys.setprofile(lambda *a: None)\ndef f(x): return 0",
    "frames of the caller": _answer(
        "frame, found = sys._getframe(), []\nwhile frame:\n"
        "    found.append(str(frame.f_locals) + str(frame.f_globals))\n"
        "    frame = frame.f_back\nreturn 2 if any('hidden' + ' 7391' in text for text in found) else 0"
    ),
    "source of the test in memory": _answer(
        "import gc\nvalues = [v for o in gc.get_objects() if type(o) is dict for v in list(o.values())]\n"
        "return 2 if any(type(v) is str and 'hidden' + ' 7391' in v for v in values) else 0"
    ),
    "source of the test in files": _answer(
        "for top, _, names in os.walk('/'):\n    if '/lib' in top or 'numpy' in top: continue\n"
        "    for n in names:\n        try:\n"
        "            if n.endswith('.jsonl') or 'hidden' + ' 7391' in open(os.path.join(top, n)).read(4000): return 2\n"
        "        except (OSError, ValueError): pass\nreturn 0"
    ),
    "BaseException with an odd __str__": "import os\nclass B(BaseException):\n    def __str__(s): os._exit(0)\n"
    "def f(x): raise B",
    "exception whose __str__ is no string": "class B(Exception):\n    def __str__(s): return 7\ndef f(x): raise B",
    "exception named passed": "class passed(BaseException): pass\ndef f(x): raise passed('passed')",
    "generator": "def f(x): yield 2",
    "endless iterator": "import itertools\ndef f(x): return itertools.count()",
    "coroutine": "async def f(x): return 2",
    "lambda": "def f(x): return lambda *a: 2",
    "list in itself": "def f(x):\n    a = []; a.append(a); return a",
    "no function of that name": "def g(x): return 2",
    "no Python": "def f(x) return 2",
    "null byte": "def f(x): return '\0'",
    "lone surrogate": "def f(x): return '\\ud800'",
}

HOGS = {
    "endless loop": "def f(x):\n    while True: pass",
    "endless loop that catches everything": "def f(x):\n    while True:\n        try:\n            while True: pass\n"
    "        except BaseException: pass",
    "ignores the signal of the time limit": _HEAD + "signal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"
    "def f(x):\n    while True: pass",
    "sleeps": _answer("time.sleep(1000); return 2"),
    "sleeping children": _answer(
        "if os.fork() == 0:\n    if os.fork() == 0: os.setsid()\n    time.sleep(1000)\nreturn 0"
    ),
    "child keeps the channels open": _answer("if os.fork() == 0: time.sleep(1000)\nos._exit(0)"),
    "fork bomb": _answer("while True:\n    try: os.fork()\n    except OSError: pass"),
    "subprocess bomb": _answer("while True: subprocess.Popen([sys.executable, '-c', 'while True: pass'])"),
    "thread bomb": _answer("while True: threading.Thread(target=time.sleep, args=(1000,)).start()"),
    "memory": _answer("a = []\nwhile True: a.append(bytearray(2**24))"),
    "memory at once": _answer("return bytearray(2**36)"),
    "memory by mmap": _answer("import mmap\nreturn len([mmap.mmap(-1, 2**27) for _ in range(100)])"),
    "huge integer": "def f(x): return 10 ** 10 ** 9",
    "huge value": "def f(x): return 'a' * 2**26",
    "huge list": "def f(x): return [0] * 2**24",
    "deep value": "def f(x):\n    a = []\n    for _ in range(10**5): a = [a]\n    return a",
    "deep recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f(x) + 1",
    "deep recursion in C": "def f(x):\n    a = None\n    for _ in range(10**6): a = [a]\n    return repr(a)",
    "segmentation fault": _answer("ctypes.string_at(0)"),
    "output flood": _answer("end = time.time() + 1\nwhile time.time() < end: print('x' * 10**6)\nreturn 0"),
    "output flood on the channel": _answer(
        "while True:\n    for d in range(3, 9):\n        try: os.write(d, b'x' * 10**6)\n        except OSError: pass"
    ),
    "slow regular expression": "import re\ndef f(x): return re.match('(a+)+$', 'a' * 40 + 'b')",
    "never reads": _HEAD + "def f(x): return 0\nos.close(3); time.sleep(1000)",
    "kills itself": _answer("os.kill(os.getpid(), 9)"),
    "stops itself": _answer("os.kill(os.getpid(), signal.SIGSTOP)"),
    "large source": "x = [" + "1," * 200_000 + "]\ndef f(x): return 0",
}

_LIBC = "libc = ctypes.CDLL(None, use_errno=True)\n"
SPIES = {
    "files of the user": _spy(
        "open('/etc/passwd').read()", "os.listdir('/home')[0]", "os.listdir('/work')", "open('{canary}')"
    ),
    "ssh keys and history": _spy(
        "os.listdir(os.path.expanduser('~/.ssh'))", "open('/root/.bash_history')", "os.listdir('/var')"
    ),
    "environment": _spy(
        "assert 'SECRET' in str(dict(os.environ))", "assert b'SECRET' in open('/proc/1/environ', 'rb').read()"
    ),
    "command lines": _spy(
        "assert any('pytest' in open(f'/proc/{p}/cmdline').read() for p in os.listdir('/proc') if p.isdigit())"
    ),
    "writes beside itself": _spy(
        "os.write(os.open('/code/inside/wire.py', os.O_WRONLY), b'x')",
        "open('/code/x', 'w')",
        "open('/x', 'w')",
        "os.write(os.open(os.__file__, os.O_WRONLY), b'x')",
        "open('/packages/x', 'w')",
        "open('/dev/x', 'w')",
    ),
    "writes the canary": _spy("open('{canary}', 'w')", "os.unlink('{canary}')"),
    "symbolic link out": _spy(
        "os.symlink('{canary}', '/tmp/l'); open('/tmp/l', 'r')", "os.symlink('/', '/tmp/r'); os.listdir('/tmp/r/work')"
    ),
    "hard link": _spy("os.link(os.__file__, '/tmp/h')"),
    "way out by ..": _spy(
        "os.chdir('/'); os.chdir('../../..'); os.listdir('work')",
        "os.chroot('/tmp')",
        "os.listdir('/proc/1/root/work')",
    ),
    "disk": _spy("for n in range(100):\n    open(f'/tmp/{n}', 'wb').write(b'x' * 2**20)"),
    "one large file": _spy("signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nopen('/tmp/a', 'wb').write(b'x' * 2**24)"),
    "shared memory files": _spy("assert os.listdir('/dev/shm')", "os.listdir('/run')"),
    "many open files": _spy("a = [open('/dev/null') for _ in range(1000)]"),
    "internet": _spy("socket.create_connection(('1.1.1.1', 53), 2)", "socket.getaddrinfo('example.com', 80)"),
    "the machine's own network": _spy(
        "socket.create_connection(('127.0.0.1', {port}), 2)", "socket.create_connection(('localhost', {port}), 2)"
    ),
    "abstract unix socket": _spy("s = socket.socket(socket.AF_UNIX)\ns.connect('\\0{abstract}')"),
    "raw socket": _spy(
        "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)", "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)"
    ),
    "kills the parent": _spy(
        "os.kill({pid}, 9)", "os.kill(os.getppid() or 1, 9); assert os.getppid() > 1; time.sleep(0.1)"
    ),
    "signals to every process": _HEAD + "def f(x):\n    signal.signal(15, signal.SIG_IGN)\n    try: os.kill(-1, 15)\n"
    "    except OSError: pass\n    return 2",
    "other processes": _spy("assert max(int(p) for p in os.listdir('/proc') if p.isdigit()) > 20"),
    "ptrace": _spy(_LIBC + "assert libc.ptrace(16, {pid}, 0, 0) == 0", _LIBC + "assert libc.ptrace(16, 1, 0, 0) == 0"),
    "memory of others": _spy(
        "open('/proc/1/mem', 'rb').read(1)",
        "assert len(open('/proc/1/maps').read()) > 0",
        "open('/proc/kcore', 'rb').read(1)[0]",
    ),
    "becomes root": _spy(
        "os.setuid(0)", "os.setresuid(0, 0, 0)", "os.setgid(0)", "os.setgroups([0])", "assert os.getuid() == 0"
    ),
    "programs with the set-user bit": _spy(
        "subprocess.run(['su', '-c', 'true'], check=True)",
        "subprocess.run(['sudo', 'true'], check=True)",
        "subprocess.run(['mount'], check=True)",
    ),
    "set-user bit of its own": _spy(
        "open('/tmp/s', 'w').write('#')\nos.chmod('/tmp/s', 0o4755)\nassert os.stat('/tmp/s').st_uid == 0"
    ),
    "chmod and chown outside": _spy(
        "os.chmod('/', 0o777)", "os.chmod(os.__file__, 0o777)", "os.chown('/tmp', 0, 0)", "os.chmod('/dev/null', 0o600)"
    ),
    "mounting": _spy(
        _LIBC + "assert libc.mount(b't', b'/tmp', b'tmpfs', 0, None) == 0",
        _LIBC + "assert libc.umount2(b'/proc', 2) == 0",
        _LIBC + "assert libc.mount(None, b'/', None, 32 | 4096, None) == 0",
    ),
    "new namespaces": _spy(
        *(_LIBC + f"assert libc.unshare({flag}) == 0" for flag in (0x10000000, 0x20000, 0x40000000, 0x10020000)),
        "subprocess.run(['unshare', '-Ur', 'true'], check=True)",
    ),
    "map of the namespace": _spy(
        "os.write(os.open('/proc/self/uid_map', os.O_WRONLY), b'0 65534 1')",
        "os.write(os.open('/proc/self/setgroups', os.O_WRONLY), b'allow')",
    ),
    "namespaces of others": _spy(_LIBC + "assert libc.setns(os.open('/proc/1/ns/mnt', os.O_RDONLY), 0) == 0"),
    "higher limits": _spy(
        "import resource as r\nr.setrlimit(r.RLIMIT_AS, (-1, -1))",
        "import resource as r\nr.setrlimit(r.RLIMIT_NPROC, (99, 99))",
        "import resource as r\nr.setrlimit(r.RLIMIT_CPU, (99, 99))",
    ),
    "kernel settings": _spy(
        "os.write(os.open('/proc/sys/kernel/hostname', os.O_WRONLY), b'x')",
        "open('/proc/sysrq-trigger', 'w')",
        "open('/sys/power/state', 'w')",
        "socket.sethostname('x')",
        "time.clock_settime(0, 0)",
    ),
    "devices": _spy(
        "open('/dev/mem', 'rb')",
        "open('/dev/vda', 'rb')",
        "open('/dev/tty')",
        "os.mknod('/tmp/d', 0o60666, os.makedev(254, 0))",
    ),
    "types into the terminal": _spy(
        "import fcntl, termios\nfcntl.ioctl(os.open('/dev/tty', os.O_RDWR), termios.TIOCSTI, b'x')"
    ),
    "lower niceness": _spy("os.nice(-5)", "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"),
    "descriptors of others": _spy(
        "assert any(os.readlink(f'/proc/self/fd/{d}').startswith(('/work', '/home', 'socket')) for d in range(64))"
    ),
    "other packages": _spy("import torch", "import layerlimits", "import pytest"),
    "reads the standard input": _spy("input()", "assert sys.stdin.read()"),
}
