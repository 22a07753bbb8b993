"""The rows of a decoder, and the recorder of the call that decodes them."""

from collections.abc import Callable, Iterator, Sequence

from layerlimits.engines import Recorder, Unfinished
from layerlimits.engines._followers import Row
from layerlimits.types import Response


class RecordedRows:
    """Reports rows to a recorder, and restores what the recorder has of them.

    Args:
        recorder: the recorder of the call.
        response: makes a response of a finished row.
        first: index in the call of the decoder's first variant.
    """

    def __init__(self, recorder: Recorder, response: Callable[[Row], Response], first: int) -> None:
        self._recorder, self._response, self._first = recorder, response, first
        # Rows that are being computed, or were finished in the current pass.
        self._open: list[Row] = []

    def restore(self, row: Row, number: int) -> None:
        """Finish a new row whose response is stored, or give it the tokens that it had when it was interrupted.

        Args:
            row: the row.
            number: index of its variant in the decoder.
        """
        row.number = self._first + number
        stored = self._recorder.stored(row.number, row.prompt)
        if stored is None:
            row.begun = list(self._recorder.begun(row.number, row.prompt))
            return
        row.tokens, row.finish = list(stored.tokens), "stop" if stored.finish == "stop" else "length"

    def enter(self, rows: Sequence[Row]) -> None:
        """Report these rows from now on, if they are asked for and not stored."""
        self._open += [row for row in rows if row.number is not None and row.finish is None]

    def report(self) -> None:
        """Report what a pass through the model has changed."""
        for row in self._open:
            if row.finish and row.number is not None:
                self._recorder.finished(row.number, row.prompt, self._response(row))
        self._open = [row for row in self._open if row.finish is None]
        self._recorder.working(self._unfinished)

    def _unfinished(self) -> Iterator[Unfinished]:
        for row in self._open:
            if row.number is not None:
                yield Unfinished(row.number, row.prompt, len(row.tokens), tuple(row.tokens), row.read_frac)
