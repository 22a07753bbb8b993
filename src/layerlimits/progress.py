"""A progress bar with an estimate, on stderr; its unit is estimated seconds, so that slow work counts for more."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from layerlimits.errors import UserError


class Bar:
    """One bar over a whole command.

    Args:
        total: estimated seconds of all work.
        on_stage: called with the name of each finished stage and the seconds it took.
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
            # A file would only get the last state, and a blank line before an error.
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
        # A mistake is told in one line, with no half-drawn bar before it.
        self._progress.live.transient = isinstance(error, UserError)
        self._progress.stop()

    def advance(self, seconds: float) -> None:
        """Work worth this many estimated seconds is done."""
        self._progress.advance(self._task, seconds)

    def reach(self, seconds: float) -> None:
        """All work up to this many estimated seconds is done, whatever part of it was told."""
        self._progress.update(self._task, completed=seconds)

    def name(self, work: str) -> None:
        """What is being done now."""
        self._progress.update(self._task, description=work)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Names the work inside the block, and reports how long it took."""
        self.name(name)
        began = time.perf_counter()
        try:
            yield
        finally:
            # Of an interrupted stage, too: a resumed command adds its part.
            if self._on_stage:
                self._on_stage(name, time.perf_counter() - began)
