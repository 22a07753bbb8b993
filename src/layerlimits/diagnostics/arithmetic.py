"""Which arithmetic is lost: exact match by operator, digits, carries, sign and nesting, error kinds, wrong steps."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

from layerlimits.analysis.operations import (
    ERROR_KINDS,
    ErrorKind,
    Node,
    carries,
    depth,
    digits,
    error_kind,
    holds,
    operations,
    parsed,
    signs,
    value,
)
from layerlimits.diagnostics import (
    Answer,
    Chart,
    DiagnosedModel,
    Diagnostic,
    Finding,
    RunView,
    Source,
    _results_probe,
    correct,
    every_model,
    interval,
)
from layerlimits.diagnostics._results_probe import asked_expression
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.scoring.numerals import number
from layerlimits.statistics import intervals

_NAME = "arithmetic"
_EXACT, _FIRST, _STEPS = "exact match", "first digit", "operations that hold"


def _findings(view: RunView) -> Iterator[Finding]:
    tasks = [task for task in view.tasks if task["kind"] == "generation"]
    rows = [finding for task in tasks for model in every_model(view) for finding in _of_task(view, model, task)]
    yield _main(view, rows)
    yield from rows
    yield from _results_probe.findings(view, every_model(view))


def _of_task(view: RunView, model: DiagnosedModel, task: TaskRecord) -> Iterator[Finding]:
    answers = list(view.answers(model, task).values())
    asked = [(answer, tree) for answer in answers if (tree := asked_expression(answer)) is not None]
    if asked and len(asked) == len(answers):
        yield from _expressions(model.label, task["name"], asked)
        return
    stated = [
        (answer.item, good)
        for answer in answers
        for operation in operations(answer.response.text)
        if (good := holds(operation)) is not None
    ]
    if task["metric"] == "pass rate" or not stated:
        return
    share = intervals.mean([float(good) for _, good in stated])
    sentence = f"Of the operations that {model.label} writes in solutions to {task['name']}, {interval(share)} hold."
    wrong = dict.fromkeys(item for item, good in stated if not good)
    yield Source(_NAME, model.label, task["name"], _STEPS).measured(share, sentence, wrong)
    kinds = [
        kind
        for answer in answers
        for operation in operations(answer.response.text)
        if holds(operation) is False and (kind := error_kind(operation.tree, operation.stated)) is not None
    ]
    yield from _kinds(model.label, task["name"], kinds, "wrong operations")


def _expressions(model: str, task: str, asked: Sequence[tuple[Answer, Node]]) -> Iterator[Finding]:
    right = [float(correct(answer)) for answer, _ in asked]
    exact = intervals.mean(right)
    lost = [answer.item for answer, _ in asked if not correct(answer)]
    yield Source(_NAME, model, task, _EXACT).measured(
        exact, f"{model.capitalize()} computes {interval(exact)} of {task} exactly.", lost
    )
    first = intervals.mean(
        [float(_first_digit(answer.response.text) == _first_digit(answer.target)) for answer, _ in asked]
    )
    yield Source(_NAME, model, task, _FIRST).measured(
        first, f"The first digit of {model} on {task} is right in {interval(first)}, whatever follows it."
    )
    for axis, feature in _SPLITS.items():
        yield from _split(Source(_NAME, model, task, f"{_EXACT} by {axis}", axis), asked, right, feature)
    for sign in "+-*/":
        part = [good for good, (_, tree) in zip(right, asked, strict=True) if sign in signs(tree)]
        if part:
            share = intervals.mean(part)
            words = f"{model.capitalize()} computes {interval(share)} of the expressions with {sign} in {task} exactly."
            yield Source(_NAME, model, task, f"{_EXACT}, operator {sign}").measured(share, words)
    wrong = [kind for answer, tree in asked if (kind := _kind(answer, tree)) is not None]
    yield from _kinds(model, task, wrong, "wrong answers")


_SPLITS: dict[str, Callable[[Node], int | None]] = {
    "digits": digits,
    "carries": carries,
    "nesting": depth,
    "negative result": lambda tree: int((value(tree) or 0) < 0),
}


def _split(
    source: Source, asked: Sequence[tuple[Answer, Node]], right: Sequence[float], feature: Callable[[Node], int | None]
) -> Iterator[Finding]:
    places = [feature(tree) for _, tree in asked]
    different = sorted({place for place in places if place is not None})
    if len(different) < 2:
        return
    for place in different:
        share = intervals.mean([good for good, other in zip(right, places, strict=True) if other == place])
        words = (
            f"{source.model.capitalize()} computes {interval(share)} of {source.task} exactly at {source.axis} {place}."
        )
        about = Source(source.diagnostic, source.model, source.task, source.measure, source.axis, place)
        yield about.measured(share, words)


def _first_digit(text: str) -> str:
    """The sign and the first digit of the first number of a text."""
    found = number(text)
    return str(found.text)[: 2 if str(found.text).startswith("-") else 1] if found else ""


def _kind(answer: Answer, tree: Node) -> ErrorKind | None:
    if correct(answer):
        return None
    given = parsed(answer.verdict.answer) if answer.verdict.answer else None
    return error_kind(tree, given if isinstance(given, Fraction) else None) or "other"


def _kinds(model: str, task: str, kinds: Sequence[ErrorKind], what: str) -> Iterator[Finding]:
    if not kinds:
        yield Source(_NAME, model, task, "error kinds").not_measurable(f"{model} has no {what} on {task}")
        return
    for kind in ERROR_KINDS:
        share = intervals.mean([float(other == kind) for other in kinds])
        words = f"Of the {what} of {model} on {task}, {interval(share)}: {kind}."
        yield Source(_NAME, model, task, kind).measured(share, words)


def _main(view: RunView, rows: Sequence[Finding]) -> Finding:
    """The largest fall of exact match, or of operations that hold, against the unpruned model."""
    measures = (_EXACT, _STEPS)
    base = {(row.task, row.measure): row.value for row in rows if row.model == "base" and row.measure in measures}
    pruned = {model.label for model in view.models if model.stage == "prune"}
    others = [
        row for row in rows if row.measure in measures and row.model != "base" and (row.model in pruned or not pruned)
    ]
    falls = [
        (before.estimate - row.value.estimate, row, before)
        for row in others
        if row.value and (before := base.get((row.task, row.measure)))
    ]
    if not falls:
        return Source(_NAME, "base", "", _EXACT).not_measurable("no task of the run has arithmetic in its answers")
    fall, row, before = max(falls, key=lambda fall: fall[0])
    assert row.value
    verdict = "the largest fall of all models" if fall > 0 else "no model has less than the unpruned one"
    what = "exact results" if row.measure == _EXACT else "operations that hold in its solutions"
    sentence = (
        f"On {row.task}, {row.model} has {interval(row.value)} {what}, the unpruned model "
        f"{interval(before)}: {verdict}."
    )
    return Source(_NAME, row.model, row.task, row.measure).measured(row.value, sentence, row.items)


arithmetic = Diagnostic(
    _NAME,
    "Arithmetic",
    _findings,
    (
        Chart("Arithmetic without one layer", "layers", (_EXACT, _FIRST, _STEPS), "fraction right"),
        Chart("Kinds of errors", "stacked", ERROR_KINDS, "fraction of errors"),
        Chart("Exact results by digits", "axis", (f"{_EXACT} by digits",), "fraction right"),
        Chart("Log-probability of right results without one layer", "layers", (_results_probe.CHANGE,), "nats"),
        Chart("Near misses that outrank the right result", "stacked", _results_probe.PREFERRED, "fraction of those"),
    ),
    probe=_results_probe.probe,
    source="arXiv 2602.01997, with exact match beside the first digit",
    caption="Exact match counts whole results. Operations that hold are of the form a op b = c in written solutions.",
)
