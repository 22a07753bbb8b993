"""A progress bar on stderr; its unit is estimated seconds, so that slow work counts for more."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from layerlimits.errors import UserError


class Bar:
    """A progress bar for a whole command.

    Args:
        total: Estimated seconds of all work.
        on_stage: Called with the name of each finished stage and its duration in seconds.
    """

    def __init__(self, total: float, on_stage: Callable[[str, float], None] | None = None) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), "{task.percentage:>3.0f}%", "elapsed")
        console = Console(stderr=True)
        self._progress = Progress(
            *columns,
            TimeElapsedColumn(),
            "left",
            TimeRemainingColumn(),
            console=console,
            # In a file, only the last state and a blank line before an error would appear.
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=total)
        self._on_stage = on_stage

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Erase the bar before the message of a UserError is printed.
        self._progress.live.transient = isinstance(error, UserError)
        self._progress.stop()

    def advance(self, seconds: float) -> None:
        """Advance the bar by work that was estimated to take `seconds`."""
        self._progress.advance(self._task, seconds)

    def reach(self, seconds: float) -> None:
        """Set the bar to `seconds` estimated seconds, whatever has been reported before."""
        self._progress.update(self._task, completed=seconds)

    def name(self, work: str) -> None:
        """Set the description of the current work."""
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
