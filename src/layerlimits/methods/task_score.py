"""The paper's iterative method: remove the layer whose loss the tasks notice least, again and again."""

from statistics import fmean

from layerlimits.errors import UserError
from layerlimits.methods import Context, by_rounds
from layerlimits.models.remove import check_count
from layerlimits.types import Ranking, Sample, Task


def task_score(context: Context) -> Ranking:
    """Greedy rounds: each skips every remaining layer in turn and removes the one with the best score.

    score(S) = mean over tasks of (task score without the layers S) / (task score of the unpruned model)

    Scored on the select split. Layer 0 is protected unless told otherwise, ties go to the later layer. `scores` are
    those of the first round; `detail` keeps every round.

    Raises:
        UserError: the unpruned model scores 0 on every task, or more rounds than unprotected layers.
    Source: arXiv 2602.01997, "iterative"
    Cost: about rounds x layers evaluations of the select items
    """
    protected = (0,) if context.protected is None else context.protected
    check_count(context.rounds, context.depth, protected)
    items = [(task, task.samples("select", context.items, context.data_dir)) for task in context.tasks]
    base = {task.name: _scores(context, [()], task, samples)[0] for task, samples in items}
    usable = [(task, samples) for task, samples in items if base[task.name] > 0]
    if not usable:
        names = ", ".join(base) or "none given"
        raise UserError(f"task_score cannot compare: the model scores 0 on every task ({names})", "give other --tasks")
    used = [sample.id for _, samples in usable for sample in samples]

    def score(removed: tuple[int, ...], left: list[int]) -> dict[int, float]:
        candidates = [(*removed, layer) for layer in left]
        kept = [
            [found / base[task.name] for found in _scores(context, candidates, task, samples)]
            for task, samples in usable
        ]
        return {layer: fmean(shares) for layer, *shares in zip(left, *kept, strict=True)}

    return by_rounds("task_score", context, protected, score, used, {"base": base}, largest_first=True)


def _scores(context: Context, variants: list[tuple[int, ...]], task: Task, samples: list[Sample]) -> list[float]:
    """The mean score of each variant, all asked together."""
    asked = evaluations(context.depth, context.rounds) * context.items * len(context.tasks)
    found = context.evaluator.many(variants, task, samples, lambda done: context.tick(done / asked))
    return [fmean(verdict.value for verdict in verdicts) for verdicts in found]


def evaluations(depth: int, rounds: int) -> float:
    """The unpruned model, and every candidate of every round; layer 0 is none."""
    return 1 + sum(depth - 1 - done for done in range(rounds))
