"""Setting aside default tasks that the unpruned model cannot do: without a score there is nothing to lose."""

from collections.abc import Sequence

from scipy.stats import binom

from layerlimits.types import Task

# Items of each default task that decide whether it is measured further.
SCREENED_ITEMS = 24
# A generation task whose score is lower is set aside.
_MIN_SCORE = 0.05
# A choice task is set aside if guessing reaches the model's score with a higher probability. With 24 items and two
# options, 15 correct answers suffice; with four options, 9.
_MAX_P = 0.2


def reason_to_set_aside(task: Task, values: Sequence[float]) -> str:
    """Why a task is measured no further; empty if it is.

    Args:
        task: The task.
        values: Scores of the unpruned model on the first items, each 0..1.

    Example:
        >>> reason_to_set_aside(winogrande, [1.0] * 12 + [0.0] * 12)
        '12 of 24 correct, as guessing gives (chance 50%)'
    """
    if task.kind == "text":
        return ""
    n, score = len(values), sum(values) / len(values)
    if task.chance:
        correct = round(sum(values))
        guessed = float(binom.sf(correct - 1, n, task.chance))
        return f"{correct} of {n} correct, as guessing gives (chance {task.chance:.0%})" if guessed > _MAX_P else ""
    if score < _MIN_SCORE:
        return f"score {score:.1%} on the first {n} items, below {_MIN_SCORE:.0%}"
    return ""
