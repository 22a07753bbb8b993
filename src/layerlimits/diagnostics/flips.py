"""Items that a model gets wrong and the unpruned model right, and the reverse, with the place where the texts part."""

from collections.abc import Iterator, Sequence
from itertools import combinations

from layerlimits.analysis.differences import first_difference
from layerlimits.diagnostics import (
    Answer,
    Chart,
    DiagnosedModel,
    Diagnostic,
    Finding,
    RunView,
    Source,
    correct,
    interval,
)
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.statistics import intervals
from layerlimits.statistics.significance import holm, mcnemar

_NAME = "flips"
Pairs = Sequence[tuple[Answer, Answer]]


def _findings(view: RunView) -> Iterator[Finding]:
    columns = [
        (model, task, pairs) for task in view.tasks for model in view.models if (pairs := view.pairs(model, task))
    ]
    if not columns:
        yield Source(_NAME, "base", "", "lost").not_measurable("the run has answers of one model only")
        return
    tests = [mcnemar(*_right(pairs)) for _, _, pairs in columns]
    adjusted = holm([test.p for test in tests])
    yield _main(columns, adjusted)
    for (model, task, pairs), test, p in zip(columns, tests, adjusted, strict=True):
        total = len(view.answers(view.base, task))
        yield from _of_model(model, task, pairs, (test.b, test.c, p), total)
    yield from _common(view)


def _right(pairs: Pairs) -> tuple[list[float], list[float]]:
    return [float(correct(base)) for base, _ in pairs], [float(correct(other)) for _, other in pairs]


def _of_model(
    model: DiagnosedModel, task: TaskRecord, pairs: Pairs, test: tuple[int, int, float], total: int
) -> Iterator[Finding]:
    lost = [other.item for base, other in pairs if correct(base) and not correct(other)]
    won = [other.item for base, other in pairs if correct(other) and not correct(base)]
    note = f", on {len(pairs)} of {total} items, which both have answered" if len(pairs) < total else ""
    test_words = f"McNemar's exact test, p = {test[2]:.2g} after Holm's correction"
    for name, items in (("lost", lost), ("won", won)):
        value = intervals.mean([float(other.item in set(items)) for _, other in pairs])
        sentence = (
            f"{model.label.capitalize()} {'loses' if name == 'lost' else 'wins'} {len(items)} of {len(pairs)} items of "
            f"{task['name']}, {interval(value)}{note} ({test_words})."
        )
        yield Source(_NAME, model.label, task["name"], name).measured(value, sentence, items)
    if task["kind"] == "generation":
        yield _departure(Source(_NAME, model.label, task["name"], "common start of lost items"), pairs)


def _departure(source: Source, pairs: Pairs) -> Finding:
    """How much of the unpruned model's answer a model repeats before the first difference, on lost items."""
    shares = [
        (1.0 if place is None else place / len(base.response.text))
        for base, other in pairs
        if correct(base) and not correct(other) and base.response.text
        for place in [first_difference(base.response.text, other.response.text)]
    ]
    if not shares:
        return source.not_measurable("no item was lost")
    value = intervals.mean([min(1.0, share) for share in shares])
    sentence = (
        f"On lost items of {source.task}, {source.model} repeats {interval(value)} of the unpruned model's text first."
    )
    return source.measured(value, sentence)


def _common(view: RunView) -> Iterator[Finding]:
    """How many lost items two pruned models share: the Jaccard index."""
    pruned = [model for model in view.models if model.stage == "prune"]
    for task in view.tasks:
        lost = {
            model.label: {other.item for base, other in view.pairs(model, task) if correct(base) and not correct(other)}
            for model in pruned
        }
        for first, second in combinations(pruned, 2):
            if len(first.removed) != len(second.removed) or first.removed == second.removed:
                continue
            union = sorted(lost[first.label] | lost[second.label])
            source = Source(_NAME, f"{first.label}; {second.label}", task["name"], "same items lost")
            if not union:
                yield source.not_measurable("neither model loses an item")
                continue
            both = lost[first.label] & lost[second.label]
            value = intervals.mean([float(item in both) for item in union])
            sentence = (
                f"Of the items of {task['name']} that {first.label} or {second.label} loses, both lose "
                f"{interval(value)}."
            )
            yield source.measured(value, sentence, sorted(both))


def _main(columns: Sequence[tuple[DiagnosedModel, TaskRecord, Pairs]], adjusted: Sequence[float]) -> Finding:
    """The pruned model and task with the most lost items relative to those that the unpruned model has right."""
    ranked = []
    for (model, task, pairs), p in zip(columns, adjusted, strict=True):
        right = [other for base, other in pairs if correct(base)]
        if right:
            ranked.append(
                (model.stage == "prune", sum(not correct(other) for other in right) / len(right), model, task, right, p)
            )
    source = Source(_NAME, "base", "", "lost of the right ones")
    if not ranked:
        return source.not_measurable("the unpruned model has no item right")
    _, _, model, task, right, p = max(ranked, key=lambda row: row[:2])
    value = intervals.mean([float(not correct(other)) for other in right])
    sentence = (
        f"Of the items of {task['name']} that the unpruned model has right, {model.label} loses {interval(value)}, the "
        f"largest share of all (McNemar's exact test, p = {p:.2g} after Holm's correction over "
        f"{len(columns)} comparisons)."
    )
    items = [other.item for other in right if not correct(other)]
    return Source(_NAME, model.label, task["name"], "lost of the right ones").measured(value, sentence, items)


flips = Diagnostic(
    _NAME,
    "Items that flip",
    _findings,
    (
        Chart("Lost and won items without one layer", "layers", ("lost", "won"), "fraction of items"),
        Chart("Lost and won items", "bars", ("lost", "won"), "fraction of items"),
    ),
    caption="Lost: right before, wrong after. Won: the reverse. Both on the items that both models have answered.",
)
