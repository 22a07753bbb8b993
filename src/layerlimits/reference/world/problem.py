"""A problem of the world, and its split."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

Split = Literal["train", "select", "calibrate", "evaluate"]

# Shares of the problems in thousandths: 15% evaluation, 8% selection, 5% calibration, the rest training.
_SHARES: tuple[tuple[Split, int], ...] = (("evaluate", 150), ("select", 80), ("calibrate", 50), ("train", 720))

# Number of consecutive misses after which a generator is considered exhausted.
_PATIENCE = 20_000


@dataclass(frozen=True)
class Problem:
    """A question with its answer.

    `key` identifies the problem independently of its wording: problems with the same key are always in the same split.
    `wrong` has the distractors of a choice problem, and `meta` additional data for the scorer.
    """

    key: str
    prompt: str
    answer: str
    wrong: tuple[str, ...] = ()
    meta: tuple[str, ...] = ()


def digest(text: str, length: int = 16) -> str:
    """The first `length` hexadecimal digits of the text's SHA-256."""
    return sha256(text.encode()).hexdigest()[:length]


def split_of(key: str) -> Split:
    """The split of a problem: a function of its key's hash alone, so it never changes."""
    point = int(digest(key, 8), 16) % 1000
    for split, share in _SHARES:
        if point < share:
            return split
        point -= share
    raise AssertionError("the shares add up to 1000")


def draw(
    make: Callable[[random.Random], Problem],
    split: Split,
    seed: int,
    owner: Callable[[str], str | None] = split_of,
) -> Iterator[Problem]:
    """Problems of one split in a reproducible order, each key once, until the generator is exhausted.

    `owner` returns None for a problem that belongs to no split; such problems are skipped.
    """
    rng = random.Random(f"{split}-{seed}")
    seen: set[str] = set()
    misses = 0
    while misses < _PATIENCE:
        problem = make(rng)
        if problem.key in seen or owner(problem.key) != split:
            misses += 1
            continue
        misses = 0
        seen.add(problem.key)
        yield problem
