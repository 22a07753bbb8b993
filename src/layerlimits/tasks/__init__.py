"""Tasks: samples with a way to score responses. One file each, exporting one `Task` named like the file."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from layerlimits.errors import UserError, unknown
from layerlimits.plugins import find, names
from layerlimits.types import Protocol, Response, Sample, Task, Verdict

_GENERATION = ("gsm8k", "math500", "humanevalplus", "mbppplus", "xsum")
_CHOICE = ("mmlu", "arc_challenge", "arc_easy", "hellaswag", "winogrande", "piqa", "openbookqa")

# A suite's name is accepted wherever tasks are. `paper` is asked as arXiv 2602.01997 did: see `docs/evaluation.md`.
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
    ),
    "generation": _GENERATION,
    "choice": _CHOICE,
    "paper": (*_GENERATION, *(f"{name}:shots=5" for name in _CHOICE)),
}


def choose(
    wanted: Iterable[str],
    protocols: Sequence[Protocol] = (),
    shots: int | None = None,
    chat: bool | None = None,
) -> list[Task]:
    """The tasks of these names, suites expanded, each once, in the order given.

    A name may say how its task is asked: "arc_easy@free:shots=5". `protocols` and `shots` say it for all tasks.

    Args:
        wanted: names of tasks and suites, or files of your own.
        protocols: ask every task by each of these; by its own protocol if none.
        shots: examples before every item.
        chat: True asks choices through the chat template too, which lm-evaluation-harness by itself does not.
    Raises:
        UserError: no name, one that is neither a task nor a suite, or a task that cannot be asked so.
    """
    found: dict[str, Task] = {}
    for name in wanted:
        for member in SUITES.get(name, (name,)):
            for protocol in protocols or (None,):
                task = _asked(member, protocol, shots, chat)
                found[task.name] = task
    if not found:
        raise UserError("no task given", f"name some of {', '.join(names('tasks'))}, or a suite: {', '.join(SUITES)}")
    return list(found.values())


def check_sandbox(tasks: Iterable[Task], unsafe: bool) -> None:
    """Refuse before anything runs if programs would have to be judged and no sandbox is possible here.

    Raises:
        UserError: with what stands in the way.
    """
    from layerlimits.scoring.sandbox import enclosure

    if not unsafe and any(task.score_all for task in tasks):
        enclosure()


def judged(task: Task, answered: Sequence[tuple[Sample, Response]], unsafe: bool = False) -> list[Verdict]:
    """The verdicts on responses, all at once where the task judges so."""
    if task.score_all:
        return task.score_all([sample for sample, _ in answered], [response for _, response in answered], unsafe)
    return [task.score(sample, response) for sample, response in answered]


def plain(name: str) -> str:
    """The name of a task without how it is asked."""
    return name.partition(":")[0].partition("@")[0]


def _asked(spec: str, protocol: Protocol | None, shots: int | None, chat: bool | None) -> Task:
    from layerlimits.tasks._protocols import under, with_shots

    told, _, option = spec.partition(":")
    name, _, given = told.partition("@")
    if not name.endswith(".py") and name not in names("tasks"):
        raise unknown("task", name, [*names("tasks"), *SUITES])
    task: Task = find("tasks", name)
    way = protocol or given
    if way:
        task = under(task, way)  # type: ignore[arg-type]  # `under` refuses what is no protocol
    task = with_shots(task, _shots(spec, option) if shots is None else shots, chat)
    return task if chat is None else replace(task, chat=chat)


def _shots(spec: str, option: str) -> int:
    if not option:
        return 0
    key, _, value = option.partition("=")
    if key != "shots" or not value.isdigit():
        raise UserError(f"task {spec!r} cannot be read", "write a task as arc_easy, arc_easy@free or arc_easy:shots=5")
    return int(value)
