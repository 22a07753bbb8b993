"""`get_tasks`, and the items that a model is asked."""

from pathlib import Path

from layerlimits.api.options import EvalOptions, Tasks
from layerlimits.errors import UserError
from layerlimits.tasks import check_sandbox, choose
from layerlimits.types import AskFormat, Sample, Task

Items = list[tuple[Task, list[Sample]]]


def get_tasks(
    *names: str, protocols: tuple[AskFormat, ...] = (), shots: int | None = None, chat: bool | None = None
) -> list[Task]:
    """Tasks by name, each once, in the order given. Suites are expanded.

    Args:
        names: tasks or suites such as "reference", or files of your own. A name can include its protocol and its number
            of examples: "arc_easy@free:shots=5".
        protocols: ask each task by each of these: "likelihood", "one_token", "free"; its own protocol if empty.
        shots: number of examples before each item; the task's own if None.
        chat: whether prompts go through the model's chat template. None: generation does if there is one, and choice
            benchmarks are plain text.
    Raises:
        UserError: no name, an unknown one, or a task that cannot be asked in this way.

    Example:
        >>> [task.name for task in get_tasks("arithmetic", "facts_choice", shots=2)]
        ['arithmetic:shots=2', 'facts_choice:shots=2']
    """
    return choose(names, protocols, shots, chat)


def resolved_tasks(tasks: Tasks) -> list[Task]:
    """The tasks, names looked up, each once.

    Raises:
        UserError: as `get_tasks`, or two different tasks of one name, whose answers could not be distinguished.
    """
    by_name: dict[str, Task] = {}
    for given in [tasks] if isinstance(tasks, str | Task) else tasks:
        for task in [given] if isinstance(given, Task) else choose([given]):
            earlier = by_name.setdefault(task.name, task)
            if _asked_as(earlier) != _asked_as(task):
                raise UserError(
                    f"task {task.name} is listed twice and asked in two ways", "evaluate each way in a call of its own"
                )
    return list(by_name.values()) or choose([])


def _asked_as(task: Task) -> tuple[object, ...]:
    return task.version, task.kind, task.asked, task.shots, task.chat


def evaluation_items(tasks: Tasks, options: EvalOptions) -> Items:
    """The tasks with their evaluation items.

    Raises:
        UserError: an unknown task, no items, or no sandbox where a task needs one.
    """
    resolved = resolved_tasks(tasks)
    check_sandbox(resolved, options.unsafe)
    items = [(task, _samples(task, options)) for task in resolved]
    for task, samples in items:
        if not samples:
            raise UserError(f"{task.name} has no item to evaluate", "give a larger file, or leave the task out")
    return items


def whole_set(task: Task, data_dir: Path | None) -> list[Sample] | None:
    """A benchmark's whole test set in the order of its file; None where a task has none."""
    if not hasattr(task.samples, "whole"):
        return None
    samples: list[Sample] = task.samples.whole(data_dir)
    return samples


def _samples(task: Task, options: EvalOptions) -> list[Sample]:
    if not options.whole:
        return task.samples("evaluate", options.limit, options.data_dir)
    samples = whole_set(task, options.data_dir)
    if samples is None:
        raise UserError(
            f"{task.name} has no whole test set",
            "give benchmarks asked in their own way, such as gsm8k, with --whole",
        )
    return samples[: options.limit]


def common_chat(tasks: list[Task]) -> bool | None:
    """The chat setting that all tasks share.

    Raises:
        UserError: tasks differ in it.
    """
    settings = {task.chat for task in tasks}
    if len(settings) > 1:
        raise UserError("the tasks differ in their chat setting", "get all tasks with the same chat")
    return settings.pop()
