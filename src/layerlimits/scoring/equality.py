"""Whether two formulas are equal, by math-verify in a process of its own.

Algebra on what a model wrote may take forever or all memory, in C code that no signal interrupts; and math-verify's own
time limit is a signal, which works in no thread. So another process computes, under a limit of its own, and ends itself
if it does not come back: the comparison is then None, and the next one starts a new process.

The lower half of this file is what that process runs; it imports nothing of the package.
"""

import atexit
import faulthandler
import importlib.util
import json
import os
import subprocess
import sys
import threading
from functools import lru_cache

# Both in the other process. math-verify's limit is for each of three steps.
_STEP_S = 3
_WHOLE_S = 12
_MEMORY_BYTES = 4 << 30

_lock = threading.Lock()
_running: dict[int, subprocess.Popen[str]] = {}


def available() -> bool:
    """Whether math-verify is installed."""
    return importlib.util.find_spec("math_verify") is not None


@lru_cache(maxsize=4096)
def equal(gold: str, answer: str) -> bool | None:
    """Whether the answer equals the gold one, both in LaTeX without dollar signs; None: it took too long.

    Raises:
        ModuleNotFoundError: math-verify is not installed.
    """
    if not available():
        raise ModuleNotFoundError("math-verify is not installed")
    with _lock:
        reply = _ask(json.dumps([gold, answer]))
        if reply is None:
            _stop()
        return None if reply is None else bool(json.loads(reply))


def _ask(line: str) -> str | None:
    """What the process answers, None where it ends instead."""
    child = _running.get(os.getpid())
    if child is None or child.poll() is not None:
        child = _start()
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(f"{line}\n")
        child.stdin.flush()
    except BrokenPipeError:
        return None
    return child.stdout.readline() or None


def _start() -> subprocess.Popen[str]:
    # -P: this folder has a module called numbers, which must not hide the standard library's.
    child = subprocess.Popen(
        [sys.executable, "-P", __file__, str(_WHOLE_S)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )
    _running[os.getpid()] = child
    return child


@atexit.register
def _stop() -> None:
    child = _running.pop(os.getpid(), None)
    if child is not None:
        child.kill()
        child.communicate()


def _serve(limit_s: float) -> None:
    """Compare the pairs on stdin, one JSON list a line, and print true or false for each."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        gold, answer = json.loads(line)
        # A thread of the interpreter itself, which ends the process even where C code holds everything else up.
        faulthandler.dump_traceback_later(limit_s, exit=True)
        same = _same(gold, answer)
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(same), file=answers, flush=True)


def _same(gold: str, answer: str) -> bool:
    from math_verify import parse, verify

    try:
        parsed = [parse(f"${text}$", parsing_timeout=_STEP_S) for text in (gold, answer)]
        return bool(verify(*parsed, allow_set_relation_comp=True, timeout_seconds=_STEP_S))
    # Whatever the algebra dies of, it did not show that they are equal.
    except (Exception, RecursionError, MemoryError):
        return False


if __name__ == "__main__":
    _serve(float(sys.argv[1]))
