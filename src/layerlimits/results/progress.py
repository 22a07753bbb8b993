"""How far a study has come: the stages that have begun, and the one in which it stopped."""

from collections.abc import Iterator
from dataclasses import dataclass

from layerlimits.results.document import StudyResults

# The stages of every study, in order; others, such as alternatives, are optional.
STAGES = ("base", "sweep", "rank", "prune", "diagnose", "recover", "speed")


@dataclass(frozen=True)
class Progress:
    """The stages of a study.

    Args:
        begun: Stages that have begun, in order.
        last: The last of them.
        missing: Stages that have not begun.
        finished: Whether the study has run to its end.
    """

    begun: tuple[str, ...]
    last: str
    missing: tuple[str, ...]
    finished: bool

    @property
    def sentence(self) -> str:
        """Where the study stopped; empty if it is finished."""
        if self.finished:
            return ""
        number = STAGES.index(self.last) + 1
        rest = f"; not begun: {', '.join(self.missing)}" if self.missing else ""
        return (
            f"This study is not finished. It is in stage {number} of {len(STAGES)}, {self.last}{rest}. "
            "The figures below cover what has been measured; the same command resumes it."
        )


def progress(results: StudyResults) -> Progress:
    """How far a study has come, from its results alone."""
    seen = set(_seen(results))
    place = max(STAGES.index(stage) for stage in seen)
    last = STAGES[place]
    ended = bool(results.speed) or any(warning.startswith("Skipped stage speed") for warning in results.warnings)
    finished = last == STAGES[-1] and ended
    return Progress(STAGES[: place + 1], last, STAGES[place + 1 :], finished)


def _seen(results: StudyResults) -> Iterator[str]:
    """Stages with a recorded time, which a killed process leaves out, or with results."""
    yield STAGES[0]
    yield from (row.stage for row in results.stages if row.stage in STAGES)
    for stage, rows in (
        ("sweep", results.sweep),
        ("rank", results.methods),
        ("prune", results.pruned),
        ("recover", results.recovery),
        ("speed", results.speed),
    ):
        if rows:
            yield stage
