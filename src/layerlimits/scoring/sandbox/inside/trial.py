"""The test's process: run the test with a proxy for the program's function and write the verdict."""

import builtins
import json
import os
from typing import Any

from . import wire
from .shapes import compare_shapes_first

_LONGEST = 200


class CandidateError(Exception):
    """The program raised an exception that is not a builtin one."""


class UnusableError(BaseException):
    """The program returned no usable result. Not an `Exception`, so that tests cannot catch it by accident."""


class _Program:
    """Proxy for the program in the other sandbox."""

    def __init__(self, requests: int, replies: int) -> None:
        self.requests, self.replies = requests, replies
        self.calls = 0
        # Why the program failed, even if the test catches the exception.
        self.failed = ""
        self.raised: BaseException | None = None

    def ask(self, *request: Any) -> Any:
        try:
            wire.send(self.requests, request)
            reply = wire.receive(self.replies)
        except (wire.FrameError, OSError) as error:
            ended = isinstance(error, OSError) or str(error) == wire.END
            self._fail("no result: the program ended" if ended else f"no result: {error}")
        if type(reply) is not list or not reply or not all(type(part) is str for part in reply[::2][:2]):
            self._fail("no result: invalid reply")
        return reply

    def call(self, *arguments: Any, **named: Any) -> Any:
        if self.failed:
            raise UnusableError
        reply = self.ask(wire.encode(list(arguments)), wire.encode(named))
        self.calls += 1
        if reply[0] == "value" and len(reply) == 2:
            try:
                return wire.decode(reply[1])
            except (wire.FrameError, RecursionError) as error:
                self._fail(f"no result: {error}")
        self.refuse(reply)

    def refuse(self, reply: list[Any]) -> None:
        """Raise the error described by a reply that is not a value."""
        if reply[0] == "raised" and len(reply) == 3 and type(reply[1]) is type(reply[2]) is str:
            self.raised = _rebuilt(reply[1], reply[2])
            raise self.raised
        if reply[0] == "refused" and len(reply) == 2:
            self._fail(f"not a plain value: {reply[1]}")
        self._fail("no result: invalid reply")

    def _fail(self, why: str) -> None:
        self.failed = why
        raise UnusableError


def _rebuilt(name: str, text: str) -> Exception:
    """The builtin exception of that name, so that tests can expect it; never one that ends a process."""
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except TypeError:
            pass
    return CandidateError(f"{name}: {text}")


def judge(given: int, verdict: int, requests: int, replies: int) -> None:
    """Read the job, run its test and write {"passed": ..., "why": ...}."""
    with os.fdopen(given, "rb") as job_file:
        job = json.load(job_file)
    program = _Program(requests, replies)
    why = _tried(program, job)
    os.write(verdict, json.dumps({"passed": why == "passed", "why": why[:_LONGEST]}).encode())


def _tried(program: _Program, job: dict[str, str]) -> str:
    try:
        reply = program.ask(job["program"], job["function"])
        if reply != ["ready"]:
            program.refuse(reply)
        compare_shapes_first(job["test"])
        names = {"__name__": "test", "candidate": program.call, job["function"]: program.call}
        exec(compile(job["test"], "<test>", "exec"), names)
    except UnusableError:
        return program.failed
    except BaseException as error:
        return program.failed or _failure(error, program, job["test"])
    if program.failed:
        return program.failed
    return "passed" if program.calls else "the test never called the program"


def _failure(error: BaseException, program: _Program, test: str) -> str:
    words = f"{type(error).__name__}: {error}" if not isinstance(error, CandidateError) else str(error)
    if error is program.raised:
        return f"memory: {words}" if isinstance(error, MemoryError) else f"raised {words}"
    line, trace = 0, error.__traceback__
    while trace:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == "<test>" else line
        trace = trace.tb_next
    where = test.splitlines()[line - 1].strip() if line else ""
    return f"assertion failed: {where}" if isinstance(error, AssertionError) else f"the test raised {words} at {where}"
