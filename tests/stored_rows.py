"""What two run folders hold is the same."""

import json

import pytest

from layerlimits.evaluation.store import Store


def assert_same_rows(first: Store, second: Store, *ignored: str) -> None:
    """All responses with their verdicts are equal, log-probabilities up to rounding, which depends on the batch.

    Args:
        ignored: columns that may differ.
    """
    rows = [list(store.export()) for store in (first, second)]
    logprobs = [[json.loads(row.pop("logprobs")) for row in table] for table in rows]
    for table in rows:
        for row in table:
            for column in ignored:
                del row[column]
    assert rows[0] == rows[1]
    for ours, theirs in zip(*logprobs, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)
