"""Tasks: samples and a function that scores responses. Each file exports one `Task` with the name of the file."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from layerlimits.errors import UserError, unknown
from layerlimits.plugins import find, names
from layerlimits.scoring.transcript import own_answer
from layerlimits.types import TRUNCATED_WHILE_THINKING, AskFormat, Outcome, Response, Sample, Task, Verdict

_GENERATION = ("gsm8k", "math500", "humanevalplus", "mbppplus", "xsum")
_CHOICE = ("mmlu", "arc_challenge", "arc_easy", "hellaswag", "winogrande", "piqa", "openbookqa")

# Suites can be used wherever tasks can. `paper` follows arXiv 2602.01997: see `docs/evaluation.md`.
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
    # For models other than the bundled one.
    "real": (
        "gsm8k",
        "humanevalplus",
        "xsum",
        "gpt3_arithmetic",
        "arithmetic",
        "brackets",
        "arc_challenge",
        "arc_easy",
        "hellaswag",
        "winogrande",
        "piqa",
        "openbookqa",
        "mmlu",
    ),
    "paper": (*_GENERATION, *(f"{name}:shots=5" for name in _CHOICE)),
}


def choose(
    wanted: Iterable[str],
    protocols: Sequence[AskFormat] = (),
    shots: int | None = None,
    chat: bool | None = None,
) -> list[Task]:
    """The tasks with these names, with suites expanded and without duplicates, in the given order.

    A name can include the protocol and the number of examples: "arc_easy@free:shots=5". `protocols` and `shots` apply
    to all tasks.

    Args:
        wanted: Names of tasks and suites, or paths of Python files.
        protocols: Evaluate every task under each of these; under its own protocol if empty.
        shots: Number of examples before every item.
        chat: True applies the chat template to choice tasks too, which lm-evaluation-harness does not do by default.

    Raises:
        UserError: No name is given, a name is neither a task nor a suite, two texts have the same name, or a task does
            not support the settings.
    """
    tasks, specs = dict[str, Task](), dict[str, str]()
    for name in wanted:
        for member in SUITES.get(name, (name,)):
            for protocol in protocols or (None,):
                task = _asked(member, protocol, shots, chat)
                if task.configure and specs.setdefault(task.name, member) != member:
                    raise UserError(
                        f"{specs[task.name]} and {member} would have the same name in results, {task.name}",
                        "rename one of the files, or measure them in separate commands",
                    )
                tasks[task.name] = task
    if not tasks:
        raise UserError("no task given", f"choose from {', '.join(names('tasks'))}, or a suite: {', '.join(SUITES)}")
    return list(tasks.values())


def available(name: str, data_dir: Path | None = None) -> str:
    """Why the items that a task evaluates on cannot be read, in one line; empty if they can.

    The items are read, so a dataset is downloaded from the hub if there is no data folder. If the hub cannot be
    reached, this takes a few seconds for the first task, and no time for the others.

    Args:
        name: Name of a task, as for `choose`; of a suite, all tasks must be available.
        data_dir: Folder of benchmark files; the hub if None.

    Raises:
        UserError: The name is neither a task nor a suite.
    """
    for task in choose([name]):
        try:
            if not task.samples("evaluate", 1, data_dir):
                return f"{task.name} has no item to evaluate"
        except UserError as error:
            return " ".join(f"{error.problem} ({error.fix})".split())
    return ""


def check_sandbox(tasks: Iterable[Task], unsafe: bool) -> None:
    """Fail early if tasks run programs and no sandbox is available on this machine.

    Raises:
        UserError: No sandbox is available; the message says why.
    """
    from layerlimits.scoring.sandbox import enclosure

    if not unsafe and any(task.score_all for task in tasks):
        enclosure()


def judged(task: Task, answered: Sequence[tuple[Sample, Response]], unsafe: bool = False) -> list[Verdict]:
    """Score responses, all at once if the task supports it. Reasoning that does not end is wrong, with a note."""
    if task.score_all:
        verdicts = task.score_all([sample for sample, _ in answered], [response for _, response in answered], unsafe)
    else:
        verdicts = [task.score(sample, response) for sample, response in answered]
    if not task.generates:
        return verdicts
    return [_noted(verdict, response) for verdict, (_, response) in zip(verdicts, answered, strict=True)]


def _noted(verdict: Verdict, response: Response) -> Verdict:
    """The verdict; on a response that ended inside its reasoning, with a note that says so."""
    if not own_answer(response).thinking:
        return verdict
    cut = response.finish == "length"
    outcome: Outcome = "truncated" if cut else "no_answer"
    return replace(verdict, outcome=outcome, value=0.0, why=TRUNCATED_WHILE_THINKING if cut else "ended while thinking")


def with_examples(task: Task, shots: int, chat: bool | None) -> Task:
    """The task with few-shot examples before each item; see `tasks._protocols.with_shots`."""
    from layerlimits.tasks._protocols import with_shots

    return with_shots(task, shots, chat)


def plain(name: str) -> str:
    """The name of a task without protocol and shots."""
    return name.partition(":")[0].partition("@")[0]


def _asked(spec: str, protocol: AskFormat | None, shots: int | None, chat: bool | None) -> Task:
    from layerlimits.tasks._protocols import under

    base, _, option = spec.partition(":")
    name, _, given = base.partition("@")
    if not name.endswith(".py") and name not in names("tasks"):
        raise unknown("task", name, [*names("tasks"), *SUITES])
    task: Task = find("tasks", name)
    if configure := task.configure:
        if way := protocol or given:
            task = under(task, way)  # type: ignore[arg-type]  # `under` rejects unknown protocols
        return configure(task, _options(spec, option))
    way = protocol or given
    if way:
        task = under(task, way)  # type: ignore[arg-type]  # `under` rejects unknown protocols
    task = with_examples(task, _shots(spec, option) if shots is None else shots, chat)
    return task if chat is None else replace(task, chat=chat)


def _options(spec: str, text: str) -> dict[str, str]:
    """The options of a task by name: "window=2048:stride=1024"."""
    pairs = [part.partition("=") for part in text.split(":") if part]
    if any(not equals for _, equals, _ in pairs):
        raise UserError(f"invalid task {spec!r}", "use the form wikitext2:window=2048:stride=1024 or texts:path=DIR")
    return {name: value for name, _, value in pairs}


def _shots(spec: str, option: str) -> int:
    if not option:
        return 0
    key, _, value = option.partition("=")
    if key != "shots" or not re.fullmatch("[0-9]{1,6}", value):
        raise UserError(f"invalid task {spec!r}", "use the form arc_easy, arc_easy@free or arc_easy:shots=5")
    return int(value)
