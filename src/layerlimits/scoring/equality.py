"""Compare two formulas with math-verify in a separate process.

Algebra on model output can take forever or exhaust memory, in C code that no exception interrupts, and math-verify's
own time limit needs the main thread and counts seconds in which other processes run. A separate process therefore does
the comparison under limits on memory and CPU time and is killed if it exceeds them. The result is then None, and the
next comparison starts a new process.

The second half of this file runs in that process and imports nothing from the package.
"""

import atexit
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

# CPU time in the other process: of each of three steps, after which equality was not shown, and of all together.
_STEP_S = 3
_WHOLE_S = 12
_MEMORY_BYTES = 4 << 30
_ENDLESS = re.compile(r"\\d?frac|/|\\sqrt|\\pi")
# Decimal places to which floating-point numbers are compared.
_PLACES, _EXACT_PLACES = 6, 15

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
        # Its signal has no handler, so it ends the process even while C code blocks everything else.
        signal.setitimer(signal.ITIMER_VIRTUAL, limit_s)
        same = _same(gold, answer)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        print(json.dumps(same), file=answers, flush=True)


def _same(gold: str, answer: str) -> bool:
    from math_verify import parse, verify
    from math_verify.errors import TimeoutException

    def interrupt(*_: object) -> None:
        raise TimeoutException

    def limited(step: Callable[..., Any], *given: Any, **options: Any) -> Any:
        signal.setitimer(signal.ITIMER_PROF, _STEP_S)
        try:
            return step(*given, **options)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    signal.signal(signal.SIGPROF, interrupt)
    # Decimals may approximate a gold fraction, root or multiple of pi; other golds are exact.
    places = _PLACES if _ENDLESS.search(gold) else _EXACT_PLACES
    try:
        parsed = [limited(parse, f"${text}$", parsing_timeout=None) for text in (gold, answer)]
        options = {"float_rounding": places, "allow_set_relation_comp": True, "timeout_seconds": None}
        return bool(limited(verify, *parsed, **options))
    # Any failure of the algebra means that equality was not shown.
    except (Exception, TimeoutException):
        return False


if __name__ == "__main__":
    _serve(float(sys.argv[1]))
