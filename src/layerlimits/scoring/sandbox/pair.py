"""Run a program and its test in two sandboxes, connected by two pipes and monitored from outside."""

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from dataclasses import replace
from typing import IO

from layerlimits.scoring.sandbox.confine import ENVIRONMENT, Kind, Limits, command

# Longer than any verdict.
_LARGEST_VERDICT = 2**16
_LONGEST_WHY = 300
_CPU_ENDED = (-signal.SIGXCPU, 128 + signal.SIGXCPU)
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)


def ended_how(job: dict[str, str], kind: Kind, limits: Limits) -> str:
    """Run one job of `program`, `function` and `test`; returns "passed" or a short reason for the failure.

    When it returns, both processes and everything they started have been killed.
    """
    requests, replies = os.pipe(), os.pipe()
    started: list[subprocess.Popen[bytes]] = []
    try:
        with tempfile.TemporaryFile() as given:
            given.write(json.dumps(job).encode())
            given.seek(0)
            program = _start(command(kind, "program", limits), requests[0], replies[1])
            started.append(program)
            # The test waits for the program, so it needs more time than the program.
            longer = replace(limits, seconds=limits.seconds + 5, memory=2 * limits.memory)
            channels = (requests[1], replies[0])
            test = _start(command(kind, "test", longer, channels), given, subprocess.PIPE, channels)
            started.append(test)
        # Each end stays open in one process only, so that the death of a process is noticed.
        _close(requests + replies)
        requests, replies = (), ()  # type: ignore[assignment]  # closed, so there is no pair of descriptors
        assert test.stdout is not None
        verdict = _read(test.stdout.fileno(), time.monotonic() + 2 * limits.seconds + 2)
        return _outcome(verdict, program, limits)
    finally:
        _close(requests + replies)
        for process in started:
            _end(process)


def _start(
    words: list[str], given: int | IO[bytes], answers: int, channels: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words,
        stdin=given,
        stdout=answers,
        stderr=subprocess.DEVNULL,
        pass_fds=channels,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )


def _read(channel: int, deadline: float) -> bytes | None:
    """Read until the end, up to the size limit of a verdict; None if the deadline passes first."""
    parts = b""
    while len(parts) <= _LARGEST_VERDICT:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([channel], [], [], left)[0]:
            return None
        part = os.read(channel, _LARGEST_VERDICT)
        if not part:
            break
        parts += part
    return parts


def _outcome(verdict: bytes | None, program: subprocess.Popen[bytes], limits: Limits) -> str:
    too_long = f"timed out after {limits.seconds:g} s"
    if verdict is None:
        return too_long
    try:
        result = json.loads(verdict)
        passed, why = result["passed"], result["why"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "no result: the test ended"
    if passed is True:
        return "passed"
    if why == "no result: the program ended":
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(1)
        if program.returncode in _CPU_ENDED:
            return too_long
        if program.returncode in _KILLED:
            return "no result: the program was killed (out of time or memory)"
    shown = "".join(sign if sign.isprintable() else "?" for sign in str(why))[:_LONGEST_WHY]
    return shown if shown != "passed" else "no result: the test ended"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its session; confined processes die with it, since it is the parent of their namespace."""
    if process.stdout is not None:
        process.stdout.close()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        # The process has not been reaped yet, so its id cannot have been reused.
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _close(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
