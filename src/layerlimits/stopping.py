"""Ctrl-C and SIGTERM: a command finishes its current step and saves before it ends.

A signal raises `Stopped`, at once or, inside `deferred`, at the next `stop_point`. A second one never waits.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

# Slurm and other schedulers send SIGTERM; 75 is EX_TEMPFAIL of sysexits.h: repeat the command.
RESUME_STATUS = 75
_NOTICE = b"stopping after the current step; a second signal stops at once\n"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal has ended the command. Not an `Exception`, so that no stage is skipped because of it.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        # The run folder in which the work is saved, if there is one.
        self.saved_in: Path | None = None

    @property
    def status(self) -> int:
        """The exit status: 75 if the same command resumes after SIGTERM, otherwise the shell's for this signal."""
        return RESUME_STATUS if self.saved_in and self.number == signal.SIGTERM else 128 + self.number

    def __str__(self) -> str:
        what = "interrupted" if self.number == signal.SIGINT else "terminated"
        if self.saved_in is None:
            return f"{what}; nothing was saved, because the command had no run folder"
        verb = "continues" if self.number == signal.SIGINT else "resumes"
        return f"{what}; saved in {self.saved_in}; the same command {verb}"


class _State:
    """The signal that has arrived and not been raised, and how many blocks defer it."""

    pending: int | None = None
    deferring = 0


_state = _State()


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside the block, SIGINT and SIGTERM raise `Stopped`; signals that are ignored, as by nohup, stay ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _on_signal) for number in handled}
    _state.pending = None
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if _state.deferring and _state.pending is None:
        _state.pending = number
        # `print` may have been interrupted itself.
        os.write(2, _NOTICE)
        return
    _state.pending = number
    raise Stopped(number)


def stop_requested() -> bool:
    """Whether a signal waits for the next `stop_point`."""
    return _state.pending is not None


def stop_point() -> None:
    """Raise `Stopped` if a signal has arrived."""
    if _state.pending is not None:
        raise Stopped(_state.pending)


@contextmanager
def deferred() -> Iterator[None]:
    """Inside the block, a signal waits for the next `stop_point`, or for the end of the block."""
    _state.deferring += 1
    try:
        yield
    finally:
        _state.deferring -= 1
    if not _state.deferring:
        stop_point()
