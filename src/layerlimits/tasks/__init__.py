"""Tasks: samples with a way to score responses. One file each, exporting one `Task` named like the file."""

from collections.abc import Iterable

from layerlimits.errors import UserError, unknown
from layerlimits.plugins import find, names
from layerlimits.types import Task

# A suite's name is accepted wherever tasks are.
SUITES: dict[str, tuple[str, ...]] = {
    "reference": (
        "arithmetic",
        "word_problems",
        "functions",
        "brackets",
        "summaries",
        "facts",
        "facts_choice",
        "inference_choice",
    )
}


def choose(wanted: Iterable[str]) -> list[Task]:
    """The tasks of these names, suites expanded, each once, in the order given.

    Raises:
        UserError: no name, or one that is neither a task nor a suite.
    """
    found: dict[str, Task] = {}
    for name in wanted:
        for member in SUITES.get(name, (name,)):
            if not member.endswith(".py") and member not in names("tasks"):
                raise unknown("task", member, [*names("tasks"), *SUITES])
            task: Task = find("tasks", member)
            found[task.name] = task
    if not found:
        raise UserError("no task given", f"name some of {', '.join(names('tasks'))}, or a suite: {', '.join(SUITES)}")
    return list(found.values())
