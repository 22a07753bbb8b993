"""Run untrusted Python written by a model against a test, in a sandbox; see docs/security.md."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from layerlimits.errors import UserError
from layerlimits.scoring.sandbox.confine import Kind, Limits, has_bubblewrap
from layerlimits.scoring.sandbox.pair import ended_how

__all__ = ["Outcome", "Program", "enclosure", "run"]

_PROBE_SECONDS = 5.0


@dataclass(frozen=True)
class Program:
    """A program and its test, both Python source.

    `test` runs in a separate process, where `candidate` and the name in `entry_point` refer to a proxy for the
    program's function `entry_point`; arguments and results are copied as plain values.
    """

    candidate: str
    test: str
    entry_point: str


@dataclass(frozen=True)
class Outcome:
    """Whether the test completed without an exception; `why` is "passed" or the reason for the failure."""

    passed: bool
    why: str


def run(
    programs: Sequence[Program], *, seconds: float = 10, unsafe: bool = False, workers: int | None = None
) -> list[Outcome]:
    """Run programs against their tests, `workers` at a time (one per core by default); results are in order.

    Args:
        seconds: CPU time limit per program; the wall-clock limit is twice as long plus 2 s.
        unsafe: Run without a sandbox, even if one is available. Resource limits still apply, but the program has all of
            your permissions.

    Raises:
        UserError: No sandbox is available, or the time limit is not positive.
    """
    if not seconds > 0:
        raise UserError(f"invalid time limit for a program: {seconds:g} s", "set a limit above 0 seconds")
    if not programs:
        return []
    kind: Kind = "unsafe" if unsafe else enclosure()
    pool = ThreadPoolExecutor(workers or len(os.sched_getaffinity(0)))
    try:
        return list(pool.map(lambda program: _judged(program, kind, seconds), programs))
    finally:
        pool.shutdown(cancel_futures=True)


def _judged(program: Program, kind: Kind, seconds: float) -> Outcome:
    job = {"program": program.candidate, "function": program.entry_point, "test": program.test}
    why = ended_how(job, kind, Limits(seconds))
    return Outcome(why == "passed", why)


def enclosure() -> Kind:
    """The kind of sandbox available on this machine: bubblewrap if it works, otherwise namespaces.

    Raises:
        UserError: Neither works.
    """
    tried = []
    if has_bubblewrap():
        why = _probe("bubblewrap")
        if why == "passed":
            return "bubblewrap"
        tried.append(f"bubblewrap: {why}")
    why = _probe("namespaces")
    if why == "passed":
        return "namespaces"
    tried.append(f"namespaces: {why}")
    raise UserError(
        f"no sandbox is available on this machine ({'; '.join(tried)})",
        "install bubblewrap, or enable user namespaces (in a container: --security-opt seccomp=unconfined); "
        "--unsafe-code (unsafe=True in Python) runs programs without a sandbox, with all of your permissions",
    )


@cache
def _probe(kind: Kind) -> str:
    """The outcome of a test program that checks that it is confined."""
    program = (
        "import os\n"
        "def seen():\n"
        "    return [os.getuid() != 0, os.getpid() < 9, os.path.exists('/etc/passwd'), os.access('/', os.W_OK)]"
    )
    try:
        return _judged(
            Program(program, "assert seen() == [True, True, False, False]", "seen"), kind, _PROBE_SECONDS
        ).why
    except OSError as error:
        return str(error)
