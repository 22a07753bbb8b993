"""The command line, logging the keys of all responses that it computes: `python logged_study.py LOG study ...`."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from layerlimits.cli import main
from layerlimits.evaluation.variants import VariantBatcher


def log_keys(path: str) -> None:
    """Append the keys of each group of batches before the engine is asked for their responses."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    compute = VariantBatcher._compute

    def logged(self: VariantBatcher, group: Sequence[Any]) -> Any:
        keys = [key for batch in group for column in batch.keys.values() for key in column]
        # A write that returned outlives the process, however it ends.
        os.write(log, "".join(json.dumps(key) + "\n" for key in keys).encode())
        return compute(self, group)

    VariantBatcher._compute = logged  # type: ignore[method-assign]  # what the test watches


if __name__ == "__main__":
    log_keys(sys.argv[1])
    sys.argv = ["layerlimits", *sys.argv[2:]]
    main()
