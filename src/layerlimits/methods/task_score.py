"""The paper's iterative method: remove the layer whose loss the tasks notice least, again and again."""

from collections.abc import Callable

import numpy as np

from layerlimits.errors import UserError
from layerlimits.methods import Context, by_rounds
from layerlimits.methods._race import Values, looks, race
from layerlimits.models.remove import check_count
from layerlimits.types import Ranking, Sample, Task


def task_score(context: Context, *, error: float = 0.05) -> Ranking:
    """Greedy rounds: each skips every remaining layer in turn and removes the one with the best score.

    score(S) = mean over tasks of (task score without the layers S) / (task score of the unpruned model)

    Scored on the select split. Layer 0 is protected unless told otherwise, ties go to the later layer. Candidates that
    cannot win any more are asked no further. `scores` are those of the first round; `detail` keeps every round, and
    how many answers the race saved.

    Args:
        error: the chance in 0..1 that a race drops the layer that all items would have chosen, over all rounds; 0 asks
            every candidate everything.
    Raises:
        UserError: the unpruned model scores 0 on every task, more rounds than unprotected layers, or an error outside
            0..1.
    Source: arXiv 2602.01997, "iterative"
    Cost: about rounds x layers evaluations of the select items
    """
    if not 0 <= error < 1:
        raise UserError(f"task_score's error {error:g} is outside 0..1", "write task_score:error=0.05, or error=0")
    protected = (0,) if context.protected is None else context.protected
    check_count(context.rounds, context.depth, protected)
    items = [(task, context.select_items(task)) for task in context.tasks]
    # Models whose answers are asked: the unpruned one, and every candidate of every round.
    models = 1 + sum(context.depth - len(set(protected)) - done for done in range(context.rounds))
    with context.progress(1 / models) as report:
        context.ask([()], items, _counting(context, items, 1, report))
    base = {task.name: float(_values(context, [()], task, samples).mean()) for task, samples in items}
    usable = [(task, samples) for task, samples in items if base[task.name] > 0]
    if not usable:
        names = ", ".join(base) or "none given"
        raise UserError(f"task_score cannot compare: the model scores 0 on every task ({names})", "give other --tasks")
    used = [sample.id for _, samples in usable for sample in samples]
    parts = looks(min(len(samples) for _, samples in usable)) if error else 1
    saved = {"error": error, "asked": 0, "of": 0}

    def score(removed: tuple[int, ...], left: list[int]) -> dict[int, float]:
        def ask(running: list[int], part: int) -> Values:
            variants = [(*removed, left[place]) for place in running]
            asked = [(task, samples[part::parts]) for task, samples in usable]
            context.ask(variants, asked, count)
            columns = []
            for (task, samples), (_, some) in zip(usable, asked, strict=True):
                weight = 1 / (base[task.name] * len(samples) * len(usable))
                columns.append(weight * _values(context, variants, task, some))
            values = np.concatenate(columns, axis=1)
            saved["asked"] += values.size
            return values

        # What is stored already, or saved by the race, is reported at the end of the round.
        with context.progress(len(left) / models) as report:
            count = _counting(context, usable, len(left), report)
            sums, _ = race(len(left), ask, parts, error / context.rounds)
        saved["of"] += len(left) * len(used)
        return dict(zip(left, sums, strict=True))

    detail = {"base": base, "race": saved}
    return by_rounds("task_score", context, protected, score, used, detail, largest_first=True)


def _counting(
    context: Context, items: list[tuple[Task, list[Sample]]], models: int, report: Callable[[float], None]
) -> Callable[[int], None]:
    """Reports numbers of responses as shares of all that so many models give to these items."""
    total = models * sum(len(samples) * context.draws(task) for task, samples in items)
    return lambda count: report(count / total)


def _values(context: Context, variants: list[tuple[int, ...]], task: Task, samples: list[Sample]) -> Values:
    """What each variant scored on each item, (variants, items): the mean of an item's draws. They have been asked."""
    if not samples:
        return np.zeros((len(variants), 0))
    verdicts = context.verdicts(variants, task, samples)
    drawn = np.array([[verdict.value for verdict in row] for row in verdicts])
    values: Values = drawn.reshape(len(variants), -1, len(samples)).mean(1)
    return values


def evaluations(depth: int, rounds: int) -> float:
    """The unpruned model, and every candidate of every round; layer 0 is none."""
    return 1 + sum(depth - 1 - done for done in range(rounds))
