"""What a pruned model must keep: requirements on its retention, and how they are written."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from layerlimits.errors import UserError, unknown
from layerlimits.types import Kind

Outcome = Literal["keeps", "fails", "too few items"]

MEAN = "mean"
KINDS: tuple[Kind, ...] = ("choice", "generation")
DEFAULT_ERROR = 0.05
# Without requirements, nine tenths of every class are required.
DEFAULT_THRESHOLD = 0.9
# Smaller errors would need more draws of the distribution than fit.
LEAST_ERROR, MOST_ERROR = 0.001, 0.5
_FORM = re.compile(r"\s*(?P<target>\S.*?)\s*>=\s*(?P<threshold>[^@\s]+)\s*(?:@\s*(?P<error>\S+)\s*)?")
_FIX = "write it as generation>=0.9, or generation>=0.95@0.01 for another error than 0.05"


@dataclass(frozen=True)
class Requirement:
    """A least retention of a task, of a class (choice or generation), or of the mean over all tasks.

    Args:
        target: The task, the class, or "mean".
        threshold: The least retention, corrected for chance; 1 is the unpruned model's.
        error: Probability of passing a model that does not meet the requirement.
    """

    target: str
    threshold: float
    error: float = DEFAULT_ERROR

    def __str__(self) -> str:
        return f"{self.target}>={self.threshold:g}@{self.error:g}"

    @property
    def words(self) -> str:
        """The requirement in words, such as "90% of generation"."""
        target = "the mean over all tasks" if self.target == MEAN else self.target
        return f"{100 * self.threshold:g}% of {target}"


def parse_requirement(text: str) -> Requirement:
    """Parse a requirement such as "generation>=0.95@0.05".

    Raises:
        UserError: It has another form, or its threshold or error is out of range.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise UserError(f"the requirement {text!r} is not of the form TARGET>=RETENTION@ERROR", _FIX)
    threshold = _number(text, "retention", match["threshold"])
    error = _number(text, "error", match["error"]) if match["error"] else DEFAULT_ERROR
    if threshold <= 0:
        raise UserError(f"the retention of the requirement {text!r} is not above 0", _FIX)
    if not LEAST_ERROR <= error < MOST_ERROR:
        raise UserError(
            f"the error of the requirement {text!r} is not at least {LEAST_ERROR:g} and below {MOST_ERROR:g}", _FIX
        )
    return Requirement(match["target"], threshold, error)


def _number(text: str, what: str, digits: str) -> float:
    try:
        number = float(digits)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"the {what} of the requirement {text!r} is not a number: {digits!r}", _FIX)
    return number


def parse_requirements(texts: Iterable[str]) -> tuple[Requirement, ...]:
    """Parse requirements; equal ones count once.

    Raises:
        UserError: As `parse_requirement`.
    """
    return tuple(dict.fromkeys(map(parse_requirement, texts)))


def default_requirements(kinds: Iterable[Kind]) -> tuple[Requirement, ...]:
    """Nine tenths of each of the classes, in a fixed order."""
    present = set(kinds)
    return tuple(Requirement(kind, DEFAULT_THRESHOLD) for kind in KINDS if kind in present)


def check_targets(requirements: Sequence[Requirement], tasks: Iterable[tuple[str, Kind]]) -> None:
    """Check that the required tasks and classes are in a run.

    Args:
        requirements: The requirements.
        tasks: Name and class of every task of the run.
    Raises:
        UserError: A target is neither a task or class of the run nor "mean".
    """
    named = list(tasks)
    known = [*(name for name, _ in named), *{kind for _, kind in named}, MEAN]
    for requirement in requirements:
        if requirement.target not in known:
            raise unknown("task or class of the run in a requirement:", requirement.target, known)
