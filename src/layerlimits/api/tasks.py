"""`get_tasks`, and the items of tasks to evaluate."""

from collections.abc import Sequence
from pathlib import Path

from layerlimits.api.models import ModelSource, checked_folder
from layerlimits.api.options import DefaultTasks, EvalOptions, Tasks
from layerlimits.errors import UserError
from layerlimits.study.defaults import default_names
from layerlimits.tasks import check_sandbox, choose
from layerlimits.types import AskFormat, Sample, Task

Items = list[tuple[Task, list[Sample]]]


def get_tasks(
    *names: str, protocols: tuple[AskFormat, ...] = (), shots: int | None = None, chat: bool | None = None
) -> list[Task]:
    """Get tasks by name, in the given order, without duplicates. Suites are expanded.

    Args:
        names: Names of tasks or suites, such as "reference", or paths of Python files. A name can include the protocol
            and the number of few-shot examples: "arc_easy@free:shots=5".
        protocols: Evaluate each task under each of these protocols: "likelihood", "one_token", "free". If empty, each
            task uses its own protocol.
        shots: Number of few-shot examples in each prompt; the task's own if None.
        chat: Whether to format prompts with the model's chat template. If None, generation tasks use the template if
            the model has one, and choice benchmarks are plain text.

    Raises:
        UserError: No name is given, a name is unknown, or a task does not support the settings.

    Example:
        >>> [task.name for task in get_tasks("arithmetic", "facts_choice", shots=2)]
        ['arithmetic:shots=2', 'facts_choice:shots=2']
    """
    return choose(names, protocols, shots, chat)


def resolved_tasks(
    tasks: Tasks | None, model: ModelSource, data_dir: Path | None, *, unsafe: bool
) -> tuple[list[Task], tuple[str, ...]]:
    """The tasks without duplicates, with names and suites resolved, and a note on default tasks that cannot be read.

    Args:
        tasks: The tasks; the default tasks of the model if None.
        model: The model, which determines the default tasks.
        data_dir: Folder of benchmark files; the hub if None.
        unsafe: Whether programs of the model may run without a sandbox.

    Raises:
        UserError: As for `get_tasks`; two tasks with the same name have different settings, so that their responses
            could not be distinguished; or no default benchmark can be read.
    """
    if tasks is None or isinstance(tasks, DefaultTasks):
        settings = tasks or DefaultTasks()
        names, notes = default_names(checked_folder(model), data_dir, unsafe=unsafe)
        return choose(names, settings.protocols, settings.shots, settings.chat), notes
    return _distinct(tasks), ()


def _distinct(tasks: str | Task | Sequence[str | Task]) -> list[Task]:
    by_name: dict[str, Task] = {}
    for given in [tasks] if isinstance(tasks, str | Task) else tasks:
        for task in [given] if isinstance(given, Task) else choose([given]):
            earlier = by_name.setdefault(task.name, task)
            if _asked_as(earlier) != _asked_as(task):
                raise UserError(
                    f"task {task.name} is listed twice, with different settings", "evaluate them in separate calls"
                )
    return list(by_name.values()) or choose([])


def _asked_as(task: Task) -> tuple[object, ...]:
    return task.version, task.kind, task.asked, task.shots, task.chat


def evaluation_items(tasks: Tasks | None, model: ModelSource, options: EvalOptions) -> tuple[Items, tuple[str, ...]]:
    """The tasks with their evaluation items, and a note on default tasks that cannot be read.

    Raises:
        UserError: As for `resolved_tasks`; or a task has no items, or requires a sandbox that is not available.
    """
    resolved, notes = resolved_tasks(tasks, model, options.data_dir, unsafe=options.unsafe)
    check_sandbox(resolved, options.unsafe)
    items = [(task, _samples(task, options)) for task in resolved]
    for task, samples in items:
        if not samples:
            raise UserError(f"{task.name} has no items to evaluate", "provide a larger file, or omit the task")
    return items, notes


def whole_set(task: Task, data_dir: Path | None) -> list[Sample] | None:
    """The full test set of a benchmark in file order; None if the task has none."""
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
            "omit whole (--whole), or use a benchmark under its own protocol, such as gsm8k",
        )
    return samples[: options.limit]


def common_chat(tasks: list[Task]) -> bool | None:
    """The chat setting of all tasks.

    Raises:
        UserError: The tasks have different chat settings.
    """
    settings = {task.chat for task in tasks}
    if len(settings) > 1:
        raise UserError("the tasks differ in their chat setting", "use the same chat setting for all tasks")
    return settings.pop()
