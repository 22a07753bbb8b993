"""A progress bar on stderr; its unit is estimated seconds, so that slow work counts for more."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Event, Thread
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from layerlimits.errors import UserError
from layerlimits.stopping import Stopped

# Seconds between lines of progress where there is no terminal.
LOG_EVERY_S = 30.0
# Seconds of the three parts of a duration.
_UNITS = (3600.0, 60.0, 1.0)
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
# Seconds of work after which the measured pace replaces the estimated one.
_TRUSTED_AFTER_S = 5.0


def seconds_of(text: str) -> float:
    """Seconds of a duration such as "90s", "12m", "2h" or "1h30m".

    Raises:
        UserError: The text is not a duration, or the duration is 0.

    Example:
        >>> seconds_of("1h30m")
        5400.0
    """
    match = _DURATION.fullmatch(text.strip().lower())
    parts = zip(match.groups(), _UNITS, strict=True) if match else ()
    total = sum(float(part) * unit for part, unit in parts if part)
    if not total:
        raise UserError(f"{text!r} is not a duration", "use a number with a unit, such as 90s, 12m, 2h or 1h30m")
    return total


def duration(seconds: float) -> str:
    """A duration in words: "40 seconds", "12 minutes", "2.5 hours"."""
    if seconds < 100:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 100 * 60 else f"{seconds / 3600:.1f} hours"


class _TimeLeft(ProgressColumn):
    """The estimated time until the end; blank while it is unknown."""

    def __init__(self, left: Callable[[], float | None]) -> None:
        super().__init__()
        self._left = left

    def render(self, task: Task) -> Text:
        """Called by rich for each refresh."""
        left = None if task.finished else self._left()
        return Text("" if left is None else f"left {timedelta(seconds=round(left))}")


class Bar:
    """A progress bar for a whole command.

    The time left is the estimated remaining work times the pace so far. Work that a resumed command does not repeat is
    not part of the pace.

    Args:
        total: Estimated amount of all work, in any unit.
        on_stage: Called with the name of each finished stage and its duration in seconds.
        pace: Estimated seconds per unit, used until the pace is measured; None if unknown.
    """

    def __init__(
        self, total: float, on_stage: Callable[[str, float], None] | None = None, pace: float | None = None
    ) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), "{task.percentage:>3.0f}%", "elapsed")
        self._console, self._ended = Console(stderr=True), Event()
        self._progress = Progress(
            *columns,
            TimeElapsedColumn(),
            _TimeLeft(lambda: self.left_s),
            console=self._console,
            # In a file, only the last state and a blank line before an error would appear; `_log` writes lines.
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=total)
        self._on_stage, self._pace, self._work = on_stage, pace, "starting"
        self._total, self._completed, self._computed = total, 0.0, 0.0
        self._began = self._advanced = time.perf_counter()

    def __enter__(self) -> "Bar":
        self._began = self._advanced = time.perf_counter()
        self._progress.start()
        if not self._console.is_terminal:
            Thread(target=self._log, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._progress.update(self._task, completed=self._total)
        # Erase the bar before the message of an error is printed.
        self._progress.live.transient = isinstance(error, (UserError, Stopped))
        self._ended.set()
        self._progress.stop()

    def _log(self) -> None:
        """Write a line of progress every half minute until the bar ends."""
        while not self._ended.wait(LOG_EVERY_S):
            left, frac = self.left_s, self._completed / self._total if self._total else 0.0
            parts = [f"{self._work}: {frac:.0%}", f"{duration(time.perf_counter() - self._began)} elapsed"]
            parts += [] if left is None else [f"about {duration(left)} left"]
            print(f"{datetime.now():%Y-%m-%d %H:%M:%S} {', '.join(parts)}", file=sys.stderr, flush=True)

    @property
    def left_s(self) -> float | None:
        """Estimated seconds until the end; None while they are unknown."""
        spent = self._advanced - self._began
        pace = spent / self._computed if self._computed and spent > _TRUSTED_AFTER_S else self._pace
        if pace is None:
            return None
        return max(0.0, (self._total - self._completed) * pace - (time.perf_counter() - self._advanced))

    def plan(self, remaining: float) -> None:
        """Replace the estimate of the remaining work."""
        self._total = self._completed + remaining
        self._progress.update(self._task, total=self._total)

    def advance(self, work: float) -> None:
        """Advance the bar by finished work."""
        self._computed, self._advanced = self._computed + work, time.perf_counter()
        self._move(self._completed + work)

    def skip(self, work: float) -> None:
        """Advance the bar by work that was not necessary, such as stored responses."""
        self._move(self._completed + work)

    def reach(self, work: float) -> None:
        """Set the bar to `work`, whatever has been reported before."""
        self._computed, self._advanced = work, time.perf_counter()
        self._move(work)

    def _move(self, completed: float) -> None:
        self._completed = min(self._total, completed)
        self._progress.update(self._task, completed=self._completed)

    def name(self, work: str) -> None:
        """Set the description of the current work."""
        self._work = work
        self._progress.update(self._task, description=work)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Show the name of a stage while the block runs, then report its duration."""
        self.name(name)
        began = time.perf_counter()
        try:
            yield
        finally:
            # Also report an interrupted stage; a resumed command adds to its duration.
            if self._on_stage:
                self._on_stage(name, time.perf_counter() - began)
