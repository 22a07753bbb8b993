"""Diagnostics measure what pruned models lose. Each file exports one `Diagnostic` named like the file.

A diagnostic reads only stored responses, so it can be added to a finished run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from layerlimits.types import Response, Verdict


@dataclass(frozen=True)
class Answered:
    """A stored answer: the item's prompt and target, the response, and its verdict."""

    prompt: str
    target: str
    response: Response
    verdict: Verdict


@dataclass(frozen=True)
class Diagnostic:
    """Measures computed per answer.

    Args:
        name: Name of the diagnostic.
        measure: (answer) -> {measure: value}; measures that are undefined for an answer are omitted.
        tasks: Names of the tasks it applies to; None means every generation task.
        source: Reference for the measures.
        reads_item: Whether the measures require the prompt or the target, which an imported run folder does not have;
            without them, both are empty strings.
    """

    name: str
    measure: Callable[[Answered], Mapping[str, float]]
    tasks: tuple[str, ...] | None = None
    source: str = "ours"
    reads_item: bool = True
