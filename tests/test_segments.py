"""Answers in parts, and the tokens that rows share."""

import pytest

from layerlimits.analysis.segments import segment_rows, shared_tokens

# Segments


@pytest.mark.parametrize("length", [8, 9, 15, 16, 100])
def test_segments_cover_a_chain_once(length: int) -> None:
    chain = list(range(length))
    rows = segment_rows([50, 51], chain, 8)
    assert len(rows) == 8
    assert [token for _, segment in rows for token in segment] == chain
    assert max(len(segment) for _, segment in rows) - min(len(segment) for _, segment in rows) <= 1
    for context, segment in rows:
        assert context == [50, 51, *chain[: chain.index(segment[0])]]


def test_a_chain_shorter_than_its_segments_is_an_error() -> None:
    with pytest.raises(ValueError, match="3 tokens in 8 segments"):
        segment_rows([], [1, 2, 3], 8)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], 0),
        ([([1, 2], [3])], 3),
        ([([1, 2], [3]), ([1, 2], [3])], 3),
        ([([1, 2], [3]), ([1, 2], [4])], 4),
        ([([1], [2]), ([1, 2], [3]), ([1, 2, 3], [4])], 4),
        ([([1], [2]), ([5], [2])], 4),
        ([([1], [3]), ([1], [2]), ([1], [3, 4])], 4),
    ],
)
def test_shared_starts_are_counted_once(rows: list[tuple[list[int], list[int]]], expected: int) -> None:
    assert shared_tokens(rows) == expected
