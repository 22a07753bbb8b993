"""What a reader of scores must be told: settings that differ between them, and items too few to tell them apart."""

from collections.abc import Mapping, Sequence
from typing import Any

from layerlimits.statistics.significance import cannot_tell

Described = Mapping[str, Any]


def confounds(tasks: Sequence[Described]) -> list[str]:
    """Where compared tasks are not asked alike: one sentence, none if they are.

    Args:
        tasks: with "name", "protocol", "shots" and "template" (a hash, None in plain text).
    """
    if len({_way(task) for task in tasks}) < 2:
        return []
    groups: dict[tuple[str, int, str | None], list[str]] = {}
    for task in tasks:
        groups.setdefault(_way(task), []).append(task["name"])
    ways = list(groups)
    differ = [
        what for what, at in (("protocol", 0), ("shots", 1), ("template", 2)) if len({way[at] for way in ways}) > 1
    ]
    told = "; ".join(f"{_some(groups[way])}: {_words(way)}" for way in ways)
    return [f"Compare with care: these tasks differ in {_listed(differ)}, not by what they ask alone ({told})."]


def _way(task: Described) -> tuple[str, int, str | None]:
    return (task["protocol"], task["shots"], task["template"])


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


def refused(tasks: Sequence[Described]) -> list[str]:
    """Where prompts did not fit into the model's positions: they count as errors.

    Args:
        tasks: with "name", "refused" and "score" (a figure with n).
    """
    return [
        f"{task['refused']} of {task['score']['n']} prompts of {task['name']} do not fit into the model's context: "
        "they count as errors, and none was cut."
        for task in tasks
        if task["refused"]
    ]


def too_few(tasks: Sequence[tuple[str, int, float]], difference: float) -> list[str]:
    """One warning for each number of items that cannot show a difference in accuracy.

    Args:
        tasks: (name, items, accuracy of the base model) of tasks scored right or wrong.
        difference: in accuracy, 0..1.
    """
    found: dict[int, list[tuple[float, str]]] = {}
    for name, n, accuracy in tasks:
        found.setdefault(n, []).append((accuracy, name))
    warned = []
    for n, there in sorted(found.items()):
        # The accuracy nearest to a half needs the most items.
        hardest = min(there, key=lambda one: abs(one[0] - 0.5))[0]
        said = cannot_tell(n, difference, hardest)
        if said:
            warned.append(f"{said} ({_some([name for _, name in there])}).")
    return warned
