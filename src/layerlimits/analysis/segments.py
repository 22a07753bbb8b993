"""A chain of tokens in consecutive segments, for losses by position."""

from collections.abc import Sequence
from itertools import pairwise

from layerlimits.types import Continuation


def segment_rows(prompt: Sequence[int], chain: Sequence[int], segments: int) -> tuple[Continuation, ...]:
    """Rows whose continuations are the consecutive segments of a chain, each after the prompt and all that precedes
    it; their lengths differ by one token at most.

    Raises:
        ValueError: The chain has fewer tokens than there are segments.
    """
    if len(chain) < segments:
        raise ValueError(f"{len(chain)} tokens in {segments} segments")
    ends = [round(len(chain) * number / segments) for number in range(segments + 1)]
    return tuple(([*prompt, *chain[:start]], list(chain[start:stop])) for start, stop in pairwise(ends))


def shared_tokens(rows: Sequence[Continuation]) -> int:
    """Number of tokens that are read for rows if texts that share their start are read once."""
    texts = sorted([*context, *continuation] for context, continuation in rows)
    total = len(texts[0]) if texts else 0
    for before, text in pairwise(texts):
        total += len(text) - _common(before, text)
    return total


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the common start of two texts."""
    for place, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return place
    return min(len(first), len(second))
