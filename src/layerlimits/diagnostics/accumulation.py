"""Whether damage acts at each step or grows along an answer: accuracy by steps and length, and the first wrong step."""

from collections.abc import Iterator, Sequence

from layerlimits.analysis.differences import first_difference, kind_at
from layerlimits.analysis.operations import first_wrong, operations
from layerlimits.diagnostics import (
    Answer,
    Chart,
    DiagnosedModel,
    Diagnostic,
    Finding,
    RunView,
    Source,
    correct,
    every_model,
    interval,
    percent,
)
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.statistics import intervals

_NAME = "accumulation"
_BY_STEPS, _BY_LENGTH = "right by steps", "right by length"
# Items with more steps are counted together.
_MOST_STEPS = 8
_QUARTERS = 4


def _findings(view: RunView) -> Iterator[Finding]:
    tasks = [task for task in view.tasks if task["kind"] == "generation"]
    rows = [finding for task in tasks for model in every_model(view) for finding in _of_task(view, model, task)]
    yield _main(view, tasks)
    yield from rows


def _of_task(view: RunView, model: DiagnosedModel, task: TaskRecord) -> Iterator[Finding]:
    pairs = view.pairs(model, task)
    kept = [(base, other) for base, other in pairs if correct(base)]
    source = Source(_NAME, model.label, task["name"], _BY_STEPS)
    if not kept:
        yield source.not_measurable(f"the unpruned model has no common item of {task['name']} right")
        return
    yield from _by_steps(source, kept)
    yield from _by_length(Source(_NAME, model.label, task["name"], _BY_LENGTH), kept)
    if model.stage != "base":
        yield from _departures(model, task, kept)
    yield from _wrong_steps(model, task, list(view.answers(model, task).values()))


def _steps(answer: Answer) -> int:
    return min(_MOST_STEPS, sum(1 for _ in operations(answer.response.text)))


def _by_steps(source: Source, kept: Sequence[tuple[Answer, Answer]]) -> Iterator[Finding]:
    """Accuracy by the number of operations in the unpruned model's right answer."""
    counts = [_steps(base) for base, _ in kept]
    if len(set(counts)) < 2:
        return
    for steps in sorted(set(counts)):
        value = intervals.mean(
            [float(correct(other)) for (_, other), count in zip(kept, counts, strict=True) if count == steps]
        )
        words = (
            f"Of the items of {source.task} that take the unpruned model {steps}{' or more' * (steps == _MOST_STEPS)} "
            f"operations, {source.model} has {interval(value)} right."
        )
        yield Source(_NAME, source.model, source.task, _BY_STEPS, "steps", steps).measured(value, words)


def _by_length(source: Source, kept: Sequence[tuple[Answer, Answer]]) -> Iterator[Finding]:
    """Accuracy by the length of the unpruned model's right answer, in quarters of the items."""
    ordered = sorted(kept, key=lambda pair: len(pair[0].response.tokens))
    size = len(ordered) / _QUARTERS
    if size < 1:
        return
    for quarter in range(_QUARTERS):
        part = ordered[round(quarter * size) : round((quarter + 1) * size)]
        longest = len(part[-1][0].response.tokens)
        value = intervals.mean([float(correct(other)) for _, other in part])
        words = (
            f"Of the items of {source.task} with the unpruned model's answers up to {longest} tokens "
            f"(quarter {quarter + 1}), "
            f"{source.model} has {interval(value)} right."
        )
        yield Source(_NAME, source.model, source.task, _BY_LENGTH, "tokens", longest).measured(value, words)


def _departures(model: DiagnosedModel, task: TaskRecord, kept: Sequence[tuple[Answer, Answer]]) -> Iterator[Finding]:
    """Where lost answers depart from the unpruned model's, and what they write there instead."""
    lost = [(base, other) for base, other in kept if not correct(other) and base.response.text]
    if not lost:
        return
    is_code = task["metric"] == "pass rate"
    kinds, shares = [], []
    for base, other in lost:
        index = first_difference(base.response.text, other.response.text)
        place = len(base.response.text) if index is None else index
        shares.append(min(1.0, place / len(base.response.text)))
        kinds.append(kind_at(base.response.text, place, is_code=is_code))
    value = intervals.mean(shares)
    words = (
        f"Lost answers of {model.label} to {task['name']} depart after {interval(value)} of the unpruned model's text."
    )
    yield Source(_NAME, model.label, task["name"], "place of departure").measured(value, words)
    for kind in sorted(set(kinds)):
        share = intervals.mean([float(other == kind) for other in kinds])
        sentence = (
            f"Where {model.label} departs on {task['name']}, the unpruned model writes: {kind}, in {interval(share)}."
        )
        yield Source(_NAME, model.label, task["name"], f"departs at: {kind}").measured(share, sentence)


def _wrong_steps(model: DiagnosedModel, task: TaskRecord, answers: Sequence[Answer]) -> Iterator[Finding]:
    """The step at which a written solution has its first wrong operation."""
    if task["metric"] == "pass rate":
        return
    wrong = [(answer.item, found[0] + 1) for answer in answers if (found := first_wrong(answer.response.text))]
    if not wrong:
        return
    for step in sorted({min(_MOST_STEPS, place) for _, place in wrong}):
        members = [item for item, place in wrong if min(_MOST_STEPS, place) == step]
        share = intervals.mean([float(min(_MOST_STEPS, place) == step) for _, place in wrong])
        words = (
            f"Of the solutions of {model.label} to {task['name']} with a wrong operation, the first one is operation "
            f"{step}{' or a later one' * (step == _MOST_STEPS)} in {interval(share)}."
        )
        yield Source(_NAME, model.label, task["name"], "first wrong step", "step", step).measured(share, words, members)


def _main(view: RunView, tasks: Sequence[TaskRecord]) -> Finding:
    """Short against long answers: the share of lost items in the halves of the unpruned model's answer lengths."""
    pruned = [model for model in view.models if model.stage == "prune"] or list(view.models)
    what = "pruned models" if any(model.stage == "prune" for model in pruned) else "models without one layer"
    halves: tuple[list[float], list[float]] = ([], [])
    items: dict[str, None] = {}
    for task in tasks:
        for model in pruned:
            kept = [(base, other) for base, other in view.pairs(model, task) if correct(base)]
            kept.sort(key=lambda pair: len(pair[0].response.tokens))
            for place, (_, other) in enumerate(kept):
                halves[2 * place >= len(kept)].append(float(correct(other)))
                if not correct(other):
                    items[other.item] = None
    source = Source(_NAME, what, ", ".join(task["name"] for task in tasks), "right among the longer half")
    if not all(halves):
        return source.not_measurable("there are fewer than two items that the unpruned model has right")
    short, long = (intervals.mean(values) for values in halves)
    ending = "losses grow with the length of the answer" if long.high < short.low else "no difference that n shows"
    sentence = (
        f"Of the items with the unpruned model's longer right answers, {what} have {interval(long)} "
        f"right, of those with the "
        f"shorter ones {percent(short.estimate)}: "
        f"{ending}."
    )
    return source.measured(long, sentence, items)


accumulation = Diagnostic(
    _NAME,
    "Does damage grow along the answer",
    _findings,
    (
        Chart("Right by the number of steps", "axis", (_BY_STEPS,), "fraction right"),
        Chart("Right by the length of the unpruned model's answer", "axis", (_BY_LENGTH,), "fraction right"),
        Chart("First wrong step of written solutions", "axis", ("first wrong step",), "fraction of wrong solutions"),
    ),
    caption="On items that the unpruned model has right. Damage that acts at each step makes accuracy fall with the "
    "number of steps.",
)
