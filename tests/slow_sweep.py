"""The command line with slow passes, logging each response that is finished: `slow_sweep.py LOG PAUSE sweep ...`.

Responses are committed, and unfinished ones saved, after `EVERY_S` seconds.
"""

import json
import os
import sys
import time
from typing import Any

from layerlimits.cli import main
from layerlimits.engines._rows import Rows
from layerlimits.evaluation import recording

EVERY_S = 0.3


def slow(log: str, pause_s: float) -> None:
    """Sleep before each pass, and append the time and the key of each response that the engine finishes."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    logits, finished = Rows.logits, recording.ResponseRecorder.finished

    def slowly(self: Rows, *given: Any) -> Any:
        time.sleep(pause_s)
        return logits(self, *given)

    def logged(self: recording.ResponseRecorder, variant: int, place: int, answer: Any) -> None:
        if self.stored(variant, place) is None:
            key = self._cells[variant][place].key
            # A write that returned outlives the process, however it ends.
            os.write(file, (json.dumps([time.time(), *key]) + "\n").encode())
        finished(self, variant, place, answer)

    Rows.logits = slowly  # type: ignore[method-assign]  # what the test slows down
    recording.ResponseRecorder.finished = logged  # type: ignore[method-assign]  # what the test watches
    recording._COMMIT_S = recording._SAVE_S = EVERY_S


if __name__ == "__main__":
    slow(sys.argv[1], float(sys.argv[2]))
    sys.argv = ["layerlimits", *sys.argv[3:]]
    main()
