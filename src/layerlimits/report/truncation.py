"""Responses that reached the token limit, in the tables of the report."""

from layerlimits.report.tables import Cell, Column
from layerlimits.results.rows import TaskScore, Truncation

TRUNCATED = (
    Column("at the token limit", "number"),
    Column("unpruned at the token limit", "number"),
    Column("difference decided by truncation"),
)


def truncated(counts: Truncation | None) -> tuple[Cell, Cell, Cell]:
    """The cells of `TRUNCATED`."""
    return (counts.other, counts.base, "yes" if counts.decides else "") if counts else (None, None, "")


def cut(task: TaskScore) -> str:
    """The truncated responses of a task in words, to follow its outcomes; empty if there are none."""
    if not task.truncated:
        return ""
    thinking = f", {task.truncated_thinking} while thinking" if task.truncated_thinking else ""
    return f"; {task.truncated} at the token limit{thinking}"
