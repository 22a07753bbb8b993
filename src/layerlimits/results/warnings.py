"""What a reader of scores must know: settings that differ between them, and items too few to tell them apart."""

from collections.abc import Mapping, Sequence

from layerlimits.results.rows import TaskScore
from layerlimits.statistics.significance import low_power


def warnings(scores: Sequence[TaskScore], difference: float) -> list[str]:
    """What must be known before any two of these scores are compared.

    Args:
        difference: in accuracy, 0..1, that should show.
    """
    return [*confounds(scores), *too_few(scores, difference), *refused(scores)]


def confounds(tasks: Sequence[TaskScore]) -> list[str]:
    """Where compared tasks are not asked alike: one sentence, none if they are."""
    if len({_way(task) for task in tasks}) < 2:
        return []
    groups: dict[tuple[str, int, str | None], list[str]] = {}
    for task in tasks:
        groups.setdefault(_way(task), []).append(task.name)
    ways = list(groups)
    settings = zip(("protocol", "shots", "template"), zip(*ways, strict=True), strict=True)
    differ = [setting for setting, values in settings if len(set(values)) > 1]
    described = "; ".join(f"{_some(groups[way])}: {_words(way)}" for way in ways)
    return [f"Compare with care: these tasks differ in {_listed(differ)}, not by what they ask alone ({described})."]


def _way(task: TaskScore) -> tuple[str, int, str | None]:
    return (task.protocol, task.shots, task.template)


def _words(way: tuple[str, int, str | None]) -> str:
    protocol, shots, template = way
    how = {"likelihood": "by likelihood", "one_token": "by one token", "free": "free generation"}[protocol]
    examples = "no example" if not shots else f"{shots} example{'s' * (shots > 1)}"
    return f"{how}, {examples}, {'chat template' if template else 'plain text'}"


def _some(names: Sequence[str], most: int = 4) -> str:
    """The names; of many the first ones and how many more."""
    shown = names if len(names) <= most else [*names[: most - 1], f"{len(names) - most + 1} more"]
    return ", ".join(shown)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def refused(tasks: Sequence[TaskScore]) -> list[str]:
    """Where prompts did not fit into the model's positions: they count as errors."""
    return [
        f"{task.refused} of {task.score.n} prompts of {task.name} do not fit into the model's context: "
        "they count as errors, and none was cut."
        for task in tasks
        if task.refused
    ]


def too_few(tasks: Sequence[TaskScore], difference: float) -> list[str]:
    """One warning for each number of items that cannot show a difference in accuracy, of tasks scored right or wrong.

    Args:
        difference: in accuracy, 0..1.
    """
    by_count: dict[int, list[TaskScore]] = {}
    for task in tasks:
        if not task.graded:
            by_count.setdefault(task.score.n, []).append(task)
    sentences = []
    for n, asked in sorted(by_count.items()):
        # The accuracy nearest to a half needs the most items.
        hardest = min((task.score.estimate for task in asked), key=lambda accuracy: abs(accuracy - 0.5))
        if sentence := low_power(n, difference, hardest):
            sentences.append(f"{sentence} ({_some([task.name for task in asked])}).")
    return sentences


def at_chance(tasks: Sequence[TaskScore]) -> list[str]:
    """Where the unpruned model is not above chance."""
    names = [task.name for task in tasks if task.score.low <= task.chance]
    if not names:
        return []
    return [
        f"The unpruned model is not above chance on {', '.join(names)}: nothing can be kept of that, and the means "
        "over tasks leave it out."
    ]


def skipped(reasons: Mapping[str, str]) -> list[str]:
    """One sentence for each part of a study that was given up.

    Args:
        reasons: why, by the name of the part.
    """
    return [f"Skipped: {what}, since {why}." for what, why in reasons.items()]
