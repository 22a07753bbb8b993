"""Which layers each task depends on: retention without a layer, and how the tasks differ."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from layerlimits.diagnostics import (
    Chart,
    DiagnosedModel,
    Diagnostic,
    Finding,
    RunView,
    Source,
    common_items,
    interval,
)
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.statistics import intervals
from layerlimits.statistics.significance import McNemar, holm, mcnemar
from layerlimits.types import Estimate

_NAME = "sensitivity"
_LEVEL = 0.05
_CLASSES: Mapping[str, tuple[str, ...]] = {
    "mean retention": ("generation", "choice"),
    "mean retention, generation": ("generation",),
    "mean retention, choice": ("choice",),
}


@dataclass(frozen=True)
class _Scores:
    """The scores of the unpruned model and of another one on the items of a task that both have answered, in order."""

    model: DiagnosedModel
    task: TaskRecord
    base: list[float]
    other: list[float]
    note: str

    @property
    def retention(self) -> Estimate | None:
        """The share of the score above chance that is left; None if the unpruned model is at chance."""
        return intervals.retention(self.base, self.other, self.task["chance"])


def _findings(view: RunView) -> Iterator[Finding]:
    table = [scores for model in view.models for task in view.tasks if (scores := _scores(view, model, task))]
    retained = [(scores, kept) for scores in table if (kept := scores.retention) is not None]
    if not retained:
        yield Source(_NAME, "base", "", "retention").not_measurable(_why_nothing(view, table))
        return
    yield _main(retained)
    for scores, kept in retained:
        label, task = scores.model.label, scores.task["name"]
        sentence = f"{task} keeps {interval(kept)} of its score above chance {_with(scores.model)}{scores.note}."
        yield Source(_NAME, label, task, "retention").measured(kept, sentence)
    yield from _at_chance(table, retained)
    means: dict[tuple[str, str], Estimate] = {}
    for model in view.models:
        for measure, kinds in _CLASSES.items():
            if kept := _mean_retention(table, model, kinds):
                means[model.label, measure] = kept
                which = f"{kinds[0]} tasks" if len(kinds) == 1 else "all tasks"
                sentence = f"The mean retention over {which} {_with(model)} is {interval(kept)}."
                yield Source(_NAME, model.label, "", measure).measured(kept, sentence)
    swept = [scores for scores in table if scores.model.stage == "sweep"]
    yield from _generation_only(swept, means)
    yield from _helpful(swept)
    yield from _agreement(view, [row for row in retained if row[0].model.stage == "sweep"])


def _with(model: DiagnosedModel) -> str:
    return model.label if model.stage == "sweep" else f"with {model.label}"


def _scores(view: RunView, model: DiagnosedModel, task: TaskRecord) -> _Scores | None:
    """The scores on common items, each the mean over the draws that both models have; None if no item is common."""
    columns: dict[str, list[tuple[float, float]]] = {}
    for draw in range(len(task["decodings"])):
        base, other = view.answers(view.base, task, draw), view.answers(model, task, draw)
        for item, answer in base.items():
            if item in other:
                columns.setdefault(item, []).append((answer.verdict.value, other[item].verdict.value))
    if not columns:
        return None
    before, after = ([sum(draw[side] for draw in draws) / len(draws) for draws in columns.values()] for side in (0, 1))
    return _Scores(model, task, before, after, common_items(view, model, task))


def _why_nothing(view: RunView, table: Sequence[_Scores]) -> str:
    if not view.models:
        return "the run has answers of one model only"
    return "the unpruned model is at chance on every task" if table else "no two models have answered the same items"


def _main(retained: Sequence[tuple[_Scores, Estimate]]) -> Finding:
    """The lowest retention without a single layer; of any model if no layer was skipped alone."""
    rows = [row for row in retained if row[0].model.stage == "sweep"] or retained
    scores, kept = min(rows, key=lambda row: row[1].estimate)
    what = "a skipped layer" if scores.model.stage == "sweep" else "a pruned model"
    label, task = scores.model.label, scores.task["name"]
    sentence = (
        f"Of {len(rows)} combinations of {what} and a task, {task} keeps the smallest share of its score above chance "
        f"{_with(scores.model)}: {interval(kept)}{scores.note}."
    )
    return Source(_NAME, label, task, "lowest retention").measured(kept, sentence)


def _at_chance(table: Sequence[_Scores], retained: Sequence[tuple[_Scores, Estimate]]) -> Iterator[Finding]:
    """The tasks whose unpruned score is at chance, which have no retention."""
    measured = {scores.task["name"] for scores, _ in retained}
    for task in dict.fromkeys(scores.task["name"] for scores in table):
        if task not in measured:
            yield Source(_NAME, "base", task, "retention").not_measurable(
                f"the unpruned model is at chance on {task}", max(len(s.base) for s in table if s.task["name"] == task)
            )


def _mean_retention(table: Sequence[_Scores], model: DiagnosedModel, kinds: tuple[str, ...]) -> Estimate | None:
    rows = [scores for scores in table if scores.model == model and scores.task["kind"] in kinds]
    return intervals.shared([(row.base, row.other) for row in rows], [row.task["chance"] for row in rows])


def _generation_only(swept: Sequence[_Scores], means: Mapping[tuple[str, str], Estimate]) -> Iterator[Finding]:
    """Layers whose removal costs generation tasks more than choice tasks, by paired intervals that do not overlap."""
    _, generation_class, choice_class = _CLASSES
    compared = [
        (label, means[label, generation_class], means[label, choice_class])
        for label in dict.fromkeys(scores.model.label for scores in swept)
        if (label, generation_class) in means and (label, choice_class) in means
    ]
    source = Source(_NAME, "base", "", "layers that matter more to generation")
    if not compared:
        yield source.not_measurable("no skipped layer has retentions of both generation and choice tasks")
        return
    apart = [row for row in compared if row[1].high < row[2].low]
    share = intervals.mean([float(row in apart) for row in compared])
    names = f": {', '.join(label for label, _, _ in apart)}" if apart else ""
    yield source.measured(
        share,
        f"{len(apart)} of {len(compared)} layers, {interval(share)}, matter more to generation than to choice, by "
        f"intervals that do not overlap{names}.",
    )
    for label, generation, choice in apart:
        sentence = (
            f"Generation keeps {interval(generation)} {label} and choice {interval(choice)}: the layer matters more to "
            "generation."
        )
        yield Source(_NAME, label, "", "generation only").measured(generation, sentence)


def _helpful(swept: Sequence[_Scores]) -> Iterator[Finding]:
    """Layers without which a task's score is higher, corrected for all combinations that were looked at."""
    source = Source(_NAME, "base", "", "removals that help")
    tested = [scores for scores in swept if set(scores.base) | set(scores.other) <= {0.0, 1.0}]
    if not tested:
        yield source.not_measurable("no layer was skipped on a task whose answers are right or wrong")
        return
    tests = [mcnemar(scores.base, scores.other) for scores in tested]
    adjusted = holm([test.p for test in tests])
    helping = [
        (scores, test, p)
        for scores, test, p in zip(tested, tests, adjusted, strict=True)
        if test.c > test.b and p <= _LEVEL
    ]
    share = intervals.mean([1.0] * len(helping) + [0.0] * (len(tests) - len(helping)))
    omitted = len(swept) - len(tested)
    note = f"; {omitted} with graded or sampled answers are not tested" if omitted else ""
    yield source.measured(
        share,
        f"In {len(helping)} of {len(tests)} combinations of a skipped layer and a task, {interval(share)}, the removal "
        f"helps (McNemar's exact test, Holm's correction over all of them{note}).",
    )
    yield from (_help(scores, test, p, len(tests)) for scores, test, p in helping)


def _help(scores: _Scores, test: McNemar, p: float, looks: int) -> Finding:
    value = intervals.mean(scores.other)
    label, task = scores.model.label, scores.task["name"]
    sentence = (
        f"The score of {task} improves to {interval(value)} {label}: {test.c} items won and {test.b} lost (McNemar's "
        f"exact test, p = {p:.2g} after Holm's correction for {looks} looks){scores.note}."
    )
    return Source(_NAME, label, task, "removal helps").measured(value, sentence)


def _agreement(view: RunView, retained: Sequence[tuple[_Scores, Estimate]]) -> Iterator[Finding]:
    """Kendall's tau between the orders in which two tasks depend on the layers."""
    by_task: dict[str, dict[str, float]] = {}
    for scores, kept in retained:
        by_task.setdefault(scores.task["name"], {})[scores.model.label] = kept.estimate
    for first, second in combinations([task["name"] for task in view.tasks], 2):
        one, other = by_task.get(first, {}), by_task.get(second, {})
        both = [label for label in one if label in other]
        columns = [[values[label] for label in both] for values in (one, other)]
        source = Source(_NAME, "base", f"{first}, {second}", "Kendall's tau")
        tau = intervals.kendall_tau(*columns)
        if tau is None:
            yield source.not_measurable(
                f"{first} and {second} have no two common layers with different retention", len(both)
            )
            continue
        low, high = _tau_interval(columns, tau)
        sentence = (
            f"Over {len(both)} layers, the orders of {first} and {second} agree with Kendall's tau {tau:.2f} "
            f"({low:.2f} to {high:.2f})."
        )
        yield source.measured(Estimate(tau, low, high, len(both)), sentence)


def _tau_interval(columns: Sequence[Sequence[float]], tau: float) -> tuple[float, float]:
    """The 95% interval of Kendall's tau, whose error is that of leaving out one layer at a time (jackknife)."""
    size = len(columns[0])
    left_out = [
        intervals.kendall_tau(*([value for place, value in enumerate(column) if place != out] for column in columns))
        for out in range(size)
    ]
    known = [value for value in left_out if value is not None]
    if len(known) < 3:
        return -1.0, 1.0
    mean = sum(known) / len(known)
    error = ((len(known) - 1) / len(known) * sum((value - mean) ** 2 for value in known)) ** 0.5
    return max(-1.0, tau - 1.96 * error), min(1.0, tau + 1.96 * error)


sensitivity = Diagnostic(
    _NAME,
    "Which layers matter to which task",
    _findings,
    (
        Chart("Retention without one layer", "layers", ("retention",), "retention"),
        Chart("Mean retention by class", "layers", tuple(_CLASSES), "retention"),
    ),
    source="arXiv 2602.01997, sweep of single layers",
    caption="Retention is the share of the unpruned model's score above chance that is left without one layer.",
)
