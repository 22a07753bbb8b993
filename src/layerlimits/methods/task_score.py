"""The paper's iterative method: in each round, remove the layer whose removal reduces the task scores least."""

from collections.abc import Callable

import numpy as np

from layerlimits.errors import UserError
from layerlimits.methods import Context, by_rounds
from layerlimits.methods._race import Values, parts_of, race
from layerlimits.models.remove import check_count
from layerlimits.types import Ranking, Sample, Task


def task_score(context: Context, *, error: float = 0.05) -> Ranking:
    """Greedy rounds: skip each remaining layer in turn and remove the one with the best task score without it.

    score(S) = mean over tasks of (task score without the layers S) / (task score of the unpruned model)

    Scores are measured on the select split. Layer 0 is protected by default, and ties go to the later layer. Candidates
    that can no longer win are dropped early. `scores` are those of the first round; `detail` contains every round
    and the number of answers saved by dropping candidates.

    Args:
        error: Probability in 0..1, over all rounds, that early dropping discards the layer that all items would have
            selected; 0 evaluates every candidate on all items.
    Raises:
        UserError: The unpruned model scores 0 on every task, there are more rounds than unprotected layers, or `error`
            is outside 0..1.
    Source: arXiv 2602.01997, "iterative"
    Cost: about rounds x layers evaluations of the selection items
    """
    if not 0 <= error < 1:
        raise UserError(f"task_score: error {error:g} is outside 0..1", "use task_score:error=0.05, or error=0")
    protected = (0,) if context.protected is None else context.protected
    check_count(context.rounds, context.depth, protected)
    items = [(task, context.select_items(task)) for task in context.tasks]
    # Number of models to evaluate: the unpruned one, and every candidate of every round.
    models = 1 + sum(context.depth - len(set(protected)) - done for done in range(context.rounds))
    with context.progress(1 / models) as report:
        context.ask([()], items, _counting(context, items, 1, report))
    base = {task.name: float(_values(context, [()], task, samples).mean()) for task, samples in items}
    usable = [(task, samples) for task, samples in items if base[task.name] > 0]
    if not usable:
        names = ", ".join(base) or "none given"
        raise UserError(
            f"task_score: the unpruned model scores 0 on every task ({names})", "choose other tasks (--tasks)"
        )
    used = [sample.id for _, samples in usable for sample in samples]
    parts = parts_of(min(len(samples) for _, samples in usable)) if error else 1
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

        # Cached answers, and answers saved by the race, are reported at the end of the round.
        with context.progress(len(left) / models) as report:
            count = _counting(context, usable, len(left), report)
            sums, _ = race(len(left), ask, parts, error / context.rounds)
        saved["of"] += len(left) * len(used)
        return dict(zip(left, sums, strict=True))

    detail = {"base": base, "race": saved}
    return by_rounds("task_score", context, protected, score, used, detail, largest_first=True)


def _counting(
    context: Context, items: list[tuple[Task, list[Sample]]], models: int, report: Callable[[float], None]
) -> Callable[[float], None]:
    """Convert counts of responses to fractions of the total that `models` models give to these items."""
    total = models * sum(len(samples) * context.draws(task) for task, samples in items)
    return lambda count: report(count / total)


def _values(context: Context, variants: list[tuple[int, ...]], task: Task, samples: list[Sample]) -> Values:
    """The score of each variant on each item, averaged over draws, (variants, items); `ask` first."""
    if not samples:
        return np.zeros((len(variants), 0))
    verdicts = context.verdicts(variants, task, samples)
    drawn = np.array([[verdict.value for verdict in row] for row in verdicts])
    values: Values = drawn.reshape(len(variants), -1, len(samples)).mean(1)
    return values


def evaluations(depth: int, rounds: int) -> float:
    """The unpruned model, and every candidate of every round; layer 0 is protected."""
    return 1 + sum(depth - 1 - done for done in range(rounds))
