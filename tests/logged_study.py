"""The command line, logging the keys of all responses that it computes: `python logged_study.py LOG study ...`."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from layerlimits.cli import main
from layerlimits.evaluation.variants import VariantBatcher


def log_keys(path: str) -> None:
    """Append the keys of the responses that the engine is asked for, before it is asked."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    compute = VariantBatcher._compute

    def logged(self: VariantBatcher, group: Sequence[Any], recorder: Any) -> Any:
        cells = [(variant, place) for variant, row in enumerate(recorder._cells) for place in range(len(row))]
        keys = [recorder._cells[variant][place].key for variant, place in cells if not recorder.stored(variant, place)]
        # A write that returned outlives the process, however it ends.
        os.write(log, "".join(json.dumps(key) + "\n" for key in keys).encode())
        return compute(self, group, recorder)

    VariantBatcher._compute = logged  # type: ignore[method-assign]  # what the test watches


if __name__ == "__main__":
    log_keys(sys.argv[1])
    sys.argv = ["layerlimits", *sys.argv[2:]]
    main()
