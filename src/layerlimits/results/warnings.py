"""Warnings about scores: settings that differ between tasks, too few items, tasks at chance, and skipped parts."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from layerlimits.results.rows import TaskScore, Truncation
from layerlimits.statistics.intervals import MIN_ITEMS, MIN_RIGHT, enough_items
from layerlimits.statistics.significance import low_power


class Truncated(Protocol):
    """A comparison on a task."""

    @property
    def task(self) -> str:
        """The task."""

    @property
    def truncation(self) -> Truncation | None:
        """Responses that reached the token limit."""


def warnings(scores: Sequence[TaskScore], difference: float, tests: int = 1) -> list[str]:
    """Warnings about comparing the given scores.

    Args:
        scores: Scores of one model on several tasks.
        difference: Difference in accuracy to detect, 0 to 1.
        tests: Number of tests against this model that are corrected together.
    """
    few = too_few(scores, difference, tests)
    return [*confounds(scores), *few, *refused(scores), *one_token_thoughts(scores)]


def confounds(tasks: Sequence[TaskScore]) -> list[str]:
    """A warning if the tasks differ in protocol, few-shot examples or template."""
    if len({_format_of(task) for task in tasks}) < 2:
        return []
    groups: dict[tuple[str, int, str | None], list[str]] = {}
    for task in tasks:
        groups.setdefault(_format_of(task), []).append(task.name)
    forms = list(groups)
    settings = zip(("protocol", "shots", "template"), zip(*forms, strict=True), strict=True)
    differ = [setting for setting, values in settings if len(set(values)) > 1]
    described = "; ".join(f"{_some(groups[form])}: {_words(form)}" for form in forms)
    return [f"Scores are not directly comparable across tasks, which differ in {_listed(differ)} ({described})."]


def _format_of(task: TaskScore) -> tuple[str, int, str | None]:
    return (task.protocol, task.shots, task.template)


def _words(form: tuple[str, int, str | None]) -> str:
    protocol, shots, template = form
    how = {"likelihood": "by likelihood", "one_token": "by one token", "free": "free generation"}[protocol]
    examples = f"{shots}-shot" if shots else "zero-shot"
    return f"{how}, {examples}, {'chat template' if template else 'plain text'}"


def _some(names: Sequence[str], limit: int = 4) -> str:
    """The names; a long list is cut to the first ones and the number of the others."""
    shown = names if len(names) <= limit else [*names[: limit - 1], f"{len(names) - limit + 1} more"]
    return ", ".join(shown)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def refused(tasks: Sequence[TaskScore]) -> list[str]:
    """A warning for each task with prompts that exceed the model's context."""
    return [
        f"{task.refused} of {task.score.n} prompts of {task.name} exceed the model's context; they count as errors "
        "and were not truncated."
        for task in tasks
        if task.refused
    ]


def one_token_thoughts(tasks: Sequence[TaskScore]) -> list[str]:
    """A warning if reasoning models were asked for a single token."""
    asked = [task.name for task in tasks if task.protocol == "one_token" and "thinking" in task.decodings[0]]
    return [
        f"A reasoning model was asked for one token in {_some(asked)}, with which it begins to think; set "
        "--chat-args enable_thinking=false, or another protocol."
        for _ in asked[:1]
    ]


def too_few(tasks: Sequence[TaskScore], difference: float, tests: int = 1) -> list[str]:
    """A warning for each number of items that is too small to detect a difference; graded tasks are ignored.

    Args:
        tasks: Scores of one model.
        difference: Difference in accuracy to detect, 0 to 1.
        tests: Number of tests that are corrected together.
    """
    by_count: dict[int, list[TaskScore]] = {}
    for task in tasks:
        if not task.graded:
            by_count.setdefault(task.score.n, []).append(task)
    sentences = []
    for n, asked in sorted(by_count.items()):
        # An accuracy close to one half requires the most items.
        hardest = min((task.score for task in asked), key=lambda score: max(score.low - 0.5, 0.5 - score.high, 0.0))
        if sentence := low_power(n, difference, hardest, tests=tests):
            sentences.append(f"{sentence} ({_some([task.name for task in asked])}).")
    return sentences


def decided_by_truncation(rows: Sequence[tuple[str, Truncated]]) -> list[str]:
    """A warning for each task on which comparisons are decided by truncation (see `results.truncation`).

    Args:
        rows: Comparisons with the names of their models.
    """
    models: dict[str, list[str]] = {}
    for name, row in rows:
        if row.truncation and row.truncation.decides:
            models.setdefault(row.task, []).append(name)
    return [
        f"The comparison on {task} mostly compares truncation, not ability ({_some(names)}): the token limit cut off "
        "unfinished responses of one model more often than those of the other, or half of those of the first model. "
        "Raise the limit (--max-new-tokens)."
        for task, names in models.items()
    ]


def at_chance(tasks: Sequence[TaskScore]) -> list[str]:
    """A warning if there are tasks on which the unpruned model is not above chance."""
    names = [task.name for task in tasks if task.score.low <= task.chance]
    if not names:
        return []
    return [
        f"The unpruned model is not above chance on {', '.join(names)}; retention cannot be measured there, and means "
        "over tasks exclude it."
    ]


def too_few_right(tasks: Sequence[TaskScore]) -> list[str]:
    """A warning if the unpruned model answers too few items of a task correctly for an interval of its retention."""
    shown = [f"{task.name} (n = {task.score.n})" for task in tasks if task.score.low > task.chance and not enough(task)]
    if not shown:
        return []
    return [
        f"Too few items for the retention of {', '.join(shown)}: its intervals hold from {MIN_ITEMS} items on, if the "
        f"unpruned model answers {MIN_RIGHT} of them correctly, not counting those it would by guessing."
    ]


def enough(task: TaskScore) -> bool:
    """Whether retention of a task has enough items, from the unpruned model's score."""
    return enough_items(task.score, task.chance)


def skipped(reasons: Mapping[str, str]) -> list[str]:
    """A warning for each skipped part of a study.

    Args:
        reasons: The reasons by the name of the part.
    """
    return [f"Skipped {what}: {why}." for what, why in reasons.items()]


def set_aside(tasks: Sequence[TaskScore]) -> list[str]:
    """A warning that names the tasks that were set aside, with the reasons."""
    reasons = [f"{task.name} ({task.set_aside})" for task in tasks if task.set_aside is not None]
    return [f"Set aside, because the unpruned model cannot do them: {'; '.join(reasons)}."] if reasons else []


def left_out(parts: Sequence[str]) -> list[str]:
    """A warning that lists what a study's budget leaves out."""
    return [f"Left out, because the budget does not suffice: {'; '.join(parts)}."] if parts else []
