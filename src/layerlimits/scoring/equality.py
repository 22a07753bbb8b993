"""Compare two formulas with math-verify in a separate process.

Algebra on model output can take forever or exhaust memory, in C code that signals cannot interrupt, and math-verify's
own time limit uses a signal, which does not work in threads. A separate process therefore does the comparison under its
own limits and exits if it exceeds them. The result is then None, and the next comparison starts a new process.

The second half of this file runs in that process and imports nothing from the package.
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

# Both apply in the other process. math-verify's limit applies to each of three steps.
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
    """Whether two formulas, in LaTeX without dollar signs, are equal; None if the comparison timed out.

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
    """Send a line to the process and return its reply, or None if the process exits."""
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
    # -P: this folder contains a module called numbers, which must not shadow the standard library's.
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
    """Compare the pairs read from stdin, one JSON list per line, and print true or false for each."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        gold, answer = json.loads(line)
        # A watchdog thread of the interpreter that ends the process even while C code blocks everything else.
        faulthandler.dump_traceback_later(limit_s, exit=True)
        same = _same(gold, answer)
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(same), file=answers, flush=True)


def _same(gold: str, answer: str) -> bool:
    from math_verify import parse, verify

    try:
        parsed = [parse(f"${text}$", parsing_timeout=_STEP_S) for text in (gold, answer)]
        return bool(verify(*parsed, allow_set_relation_comp=True, timeout_seconds=_STEP_S))
    # Any failure of the algebra means that equality was not shown.
    except (Exception, RecursionError, MemoryError):
        return False


if __name__ == "__main__":
    _serve(float(sys.argv[1]))
