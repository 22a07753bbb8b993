"""Running Python that a model wrote, and judging it by a test, without trusting it. docs/security.md says how."""

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

    `test` runs in another process than `candidate`. There, `candidate` and the name in `entry_point` are a stand-in
    for the program's function `entry_point`: arguments and results are copied, as plain values.
    """

    candidate: str
    test: str
    entry_point: str


@dataclass(frozen=True)
class Outcome:
    """Whether the test ran to its end without an exception; `why` is "passed" or what stood in the way."""

    passed: bool
    why: str


def run(
    programs: Sequence[Program], *, seconds: float = 10, unsafe: bool = False, workers: int | None = None
) -> list[Outcome]:
    """Judge programs, `workers` at a time (as many as there are cores), in the order given.

    Args:
        seconds: processor time of a program; it is ended after twice as much and 2 s on the clock, too.
        unsafe: run without a sandbox, even where one is possible, under limits only: what the program does, it does
            as you.
    Raises:
        UserError: no sandbox is possible here, or no processor time is given.
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
    """What shuts programs in here: bubblewrap where it works, else namespaces.

    Raises:
        UserError: neither works.
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
    """How an honest program ends that also looks whether it is shut in."""
    program = (
        "import os\n"
        "def seen():\n"
        "    return [os.getuid() != 0, os.getpid() < 9, os.path.exists('/etc/passwd'), os.access('/', os.W_OK)]"
    )
    return _judged(Program(program, "assert seen() == [True, True, False, False]", "seen"), kind, _PROBE_SECONDS).why
