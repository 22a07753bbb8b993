"""Diagnostics: what exactly is lost. One file each, exporting one `Diagnostic` named like the file.

A diagnostic looks at stored responses only, so it can be added to a finished run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from layerlimits.types import Response, Verdict


@dataclass(frozen=True)
class Answered:
    """One stored answer: the item's prompt and target, the response and its verdict."""

    prompt: str
    target: str
    response: Response
    verdict: Verdict


@dataclass(frozen=True)
class Diagnostic:
    """Measures of single answers.

    Args:
        tasks: the tasks it applies to by name; None means every generation task.
        measure: (answer) -> {measure: value}; a measure that is not defined for an answer is left out.
        source: where the measures come from.
    """

    name: str
    measure: Callable[[Answered], Mapping[str, float]]
    tasks: tuple[str, ...] | None = None
    source: str = "ours"
