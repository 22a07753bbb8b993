"""Whether brackets are closed: in completed sequences by depth and length, in programs, and in free text."""

from collections.abc import Iterator, Sequence

from layerlimits.analysis.python_errors import BracketError, bracket_error, code_brackets, text_brackets
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

_NAME = "brackets"
_ASK = "Close the brackets: "
_BALANCED = "balanced"


def _findings(view: RunView) -> Iterator[Finding]:
    tasks = [task for task in view.tasks if task["kind"] == "generation"]
    rows = [finding for task in tasks for model in every_model(view) for finding in _of_task(view, model, task)]
    yield _main(view, rows)
    yield from rows


def _of_task(view: RunView, model: DiagnosedModel, task: TaskRecord) -> Iterator[Finding]:
    answers = list(view.answers(model, task).values())
    sequences = [answer for answer in answers if answer.prompt.startswith(_ASK)]
    if sequences:
        yield from _sequences(model.label, task["name"], sequences)
        return
    is_code = task["metric"] == "pass rate"
    judged: list[tuple[Answer, BracketError | None]] = []
    for answer in answers:
        # An answer that was cut off has open brackets for that reason.
        text = answer.verdict.answer if is_code else answer.response.text
        marks = code_brackets(text) if is_code else text_brackets(text)
        if marks and answer.response.finish != "length":
            judged.append((answer, bracket_error(marks)))
    source = Source(_NAME, model.label, task["name"], _BALANCED)
    if not judged:
        yield source.not_measurable("no finished answer has a bracket")
        return
    yield from _balance(source, judged)


def _balance(source: Source, judged: Sequence[tuple[Answer, BracketError | None]]) -> Iterator[Finding]:
    value = intervals.mean([float(error is None) for _, error in judged])
    broken = [answer.item for answer, error in judged if error]
    kinds: list[str] = [error.kind for _, error in judged if error]
    most = max(kinds, key=kinds.count) if kinds else ""
    tail = f"; the first error is most often a bracket {most}" if most else ""
    sentence = (
        f"Brackets of {source.model} on {source.task} are balanced in {interval(value)} of answers with brackets{tail}."
    )
    yield source.measured(value, sentence, broken)
    for kind in sorted(set(kinds)):
        share = intervals.mean([float(error is not None and error.kind == kind) for _, error in judged])
        words = f"The first bracket error of {source.model} on {source.task} is one {kind} in {interval(share)}."
        yield Source(_NAME, source.model, source.task, kind).measured(share, words)


def _sequences(model: str, task: str, answers: Sequence[Answer]) -> Iterator[Finding]:
    """The closing task: right by depth and length, and how much is closed before the first error."""
    right = [float(correct(answer)) for answer in answers]
    value = intervals.mean(right)
    lost = [answer.item for answer, good in zip(answers, right, strict=True) if not good]
    sentence = f"{model.capitalize()} closes {interval(value)} of bracket sequences correctly."
    yield Source(_NAME, model, task, "closed").measured(value, sentence, lost)
    agreed = [_agreed(answer) for answer in answers if answer.target]
    if agreed:
        share = intervals.mean(agreed)
        words = f"{model.capitalize()} closes {interval(share)} of the brackets of a sequence before its first error."
        yield Source(_NAME, model, task, "closed before the first error").measured(share, words)
    for axis, sizes in (
        ("depth", [len(answer.target) for answer in answers]),
        ("length", [len(answer.prompt.removeprefix(_ASK)) for answer in answers]),
    ):
        for size in sorted(set(sizes)):
            part = intervals.mean([good for good, other in zip(right, sizes, strict=True) if other == size])
            words = f"{model.capitalize()} closes {interval(part)} of the sequences of {axis} {size}."
            yield Source(_NAME, model, task, f"closed by {axis}", axis, size).measured(part, words)


def _agreed(answer: Answer) -> float:
    text, target = answer.response.text.strip(), answer.target
    same = next((place for place, mark in enumerate(target) if text[place : place + 1] != mark), len(target))
    return same / len(target)


def _main(view: RunView, rows: Sequence[Finding]) -> Finding:
    """The largest fall of balance or of closed sequences against the unpruned model, over pruned "
    "models if there are.
    """
    base = {(row.task, row.measure): row for row in rows if row.model == "base"}
    pruned = {model.label for model in view.models if model.stage == "prune"}
    others = [
        row
        for row in rows
        if row.measure in (_BALANCED, "closed") and row.model != "base" and (row.model in pruned or not pruned)
    ]
    falls = [
        (before.estimate - row.estimate, row, before)
        for row in others
        if row.estimate is not None
        and (before := base.get((row.task, row.measure))) is not None
        and before.estimate is not None
    ]
    if not falls:
        return Source(_NAME, "base", "", _BALANCED).not_measurable("no task has answers with brackets of two models")
    _, row, before = max(falls, key=lambda fall: fall[0])
    assert row.value
    assert before.estimate is not None
    what = "closes bracket sequences correctly" if row.measure == "closed" else "balances brackets"
    sentence = (
        f"On {row.task}, {row.model} {what} in {interval(row.value)} of answers, the unpruned model in "
        f"{percent(before.estimate)}: the largest fall of all models."
    )
    return Source(_NAME, row.model, row.task, row.measure).measured(row.value, sentence, row.items)


brackets = Diagnostic(
    _NAME,
    "Brackets and syntax",
    _findings,
    (
        Chart("Brackets without one layer", "layers", (_BALANCED, "closed"), "fraction of answers"),
        Chart("Closed sequences by depth", "axis", ("closed by depth",), "fraction closed correctly"),
    ),
    source="arXiv 2602.01997, bracket errors; balance by the tokenizer of Python",
    caption="In programs, brackets in strings and comments do not count; answers without brackets are not measured.",
)
