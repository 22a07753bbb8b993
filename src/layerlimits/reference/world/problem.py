"""One problem of the world, and the split it belongs to."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

Split = Literal["train", "select", "calibrate", "evaluate"]

# Shares of the problems, in thousandths: evaluation 15%, selection 8%, calibration 5%, training the rest.
_SHARES: tuple[tuple[Split, int], ...] = (("evaluate", 150), ("select", 80), ("calibrate", 50), ("train", 720))

# A generator that finds nothing new this often has run out of problems.
_PATIENCE = 20_000


@dataclass(frozen=True)
class Problem:
    """A question with its answer.

    `key` identifies the problem apart from its wording: two problems with one key never land in different splits.
    `wrong` holds the distractors of a choice problem, `meta` what a scorer needs besides the answer.
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
    """The split a problem belongs to: a function of the hash of its key alone, so it never changes."""
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
    """Problems of one split in a reproducible order, each key once; ends when no new one turns up.

    `owner` may answer None for a problem that belongs to no split (it is skipped).
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
