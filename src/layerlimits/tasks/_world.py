"""Samples of the bundled tasks."""

import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from layerlimits.reference.world.problem import Problem, draw, split_of
from layerlimits.types import Sample, Split

# The items of a split are the same in every run and do not depend on the run's seed.
_SEED = 0

Samples = Callable[[Split, int, Path | None], list[Sample]]


def drawn(
    make: Callable[[random.Random], Problem],
    owner: Callable[[str], str | None] = split_of,
    *,
    choice: bool = False,
) -> Samples:
    """Samples from a problem generator, with choices if `choice`; `data_dir` is ignored."""

    def samples(split: Split, limit: int, data_dir: Path | None = None) -> list[Sample]:
        problems = islice(draw(make, split, _SEED, owner), limit)
        return [sample(problem, split, choice=choice) for problem in problems]

    return samples


def listed(problems: Callable[[Split, int], list[Problem]], *, choice: bool = False) -> Samples:
    """Samples from a finite list of problems, with choices if `choice`."""

    def samples(split: Split, limit: int, data_dir: Path | None = None) -> list[Sample]:
        return [sample(problem, split, choice=choice) for problem in problems(split, _SEED)[:limit]]

    return samples


def sample(problem: Problem, split: Split, *, choice: bool = False) -> Sample:
    """Convert a problem to a sample; the order of the choices is determined by the problem's key."""
    choices: tuple[str, ...] = ()
    if choice:
        options = [problem.answer, *problem.wrong]
        random.Random(problem.key).shuffle(options)
        choices = tuple(options)
    return Sample(problem.prompt, problem.answer, split, choices, {"key": problem.key})
