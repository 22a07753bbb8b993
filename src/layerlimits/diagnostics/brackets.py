"""Whether brackets are closed: in completed sequences by depth and length, in programs, and in free text."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from layerlimits.analysis.brackets import Brackets, code_brackets, text_brackets
from layerlimits.diagnostics import (
    Answer,
    Chart,
    DiagnosedModel,
    Diagnostic,
    Finding,
    RunView,
    Source,
    common_items,
    correct,
    every_model,
    interval,
)
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.statistics import intervals

_NAME = "brackets"
_TASK = "brackets"
_ASK = "Close the brackets: "
_BALANCED, _CLOSED = "balanced", "closed"
_KINDS = ("closed without opening", "closed by another bracket", "never closed")


@dataclass(frozen=True)
class _Judged:
    """The brackets of answers by item, and how many answers are not measurable, by reason."""

    brackets: Mapping[str, Brackets]
    omitted: Counter[str] = field(default_factory=Counter)

    @property
    def reasons(self) -> str:
        """What is not measured, for sentences: "3 empty, 1 cut off"."""
        return ", ".join(f"{count} {why}" for why, count in self.omitted.items())


Table = Mapping[tuple[str, str], _Judged]


def _findings(view: RunView) -> Iterator[Finding]:
    tasks = [task for task in view.tasks if task["kind"] == "generation"]
    if not tasks:
        yield Source(_NAME, "base", "", _BALANCED).not_measurable("the run has no generation task")
        return
    closing = {task["name"] for task in tasks if _closing(task, view.answers(view.base, task))}
    judged = {
        (model.label, task["name"]): _judged(task, view.answers(model, task))
        for task in tasks
        for model in every_model(view)
        if task["name"] not in closing
    }
    yield _main(view, tasks, judged)
    for task in tasks:
        for model in every_model(view):
            if task["name"] in closing:
                yield from _sequences(model.label, task["name"], list(view.answers(model, task).values()))
            else:
                yield from _balance(model.label, task["name"], judged[model.label, task["name"]])


def _closing(task: TaskRecord, answers: Mapping[str, Answer]) -> bool:
    """Whether a task asks for the closing brackets of a sequence; an imported run has no prompts."""
    return task["name"].split("@")[0] == _TASK or any(answer.prompt.startswith(_ASK) for answer in answers.values())


def _judged(task: TaskRecord, answers: Mapping[str, Answer]) -> _Judged:
    """The brackets of the answers that have any; the others, empty and cut off ones included, are counted."""
    judged: dict[str, Brackets] = {}
    omitted: Counter[str] = Counter()
    is_code = task["metric"] == "pass rate"
    for item, answer in answers.items():
        text = _program(answer) if is_code else answer.response.text
        if answer.response.finish == "length":
            omitted["cut off"] += 1
        elif not text.strip():
            omitted["without code" if is_code and answer.response.text.strip() else "empty"] += 1
        elif (brackets := (code_brackets if is_code else text_brackets)(text)) is None:
            omitted["broken"] += 1
        elif not brackets.marks:
            omitted["without brackets"] += 1
        else:
            judged[item] = brackets
    return _Judged(judged, omitted)


def _program(answer: Answer) -> str:
    """The program of an answer; the text itself if it defines a function that its scorer could not extract."""
    text = answer.response.text
    return answer.verdict.answer or (text if "def " in text else "")


def _balance(model: str, task: str, judged: _Judged) -> Iterator[Finding]:
    source = Source(_NAME, model, task, _BALANCED)
    note = f" (not measurable: {judged.reasons})" if judged.omitted else ""
    if not judged.brackets:
        yield source.not_measurable(f"no answer has brackets that can be judged{note}")
        return
    errors = {item: error for item, brackets in judged.brackets.items() if (error := brackets.error)}
    total = len(judged.brackets)
    value = intervals.mean([float(item not in errors) for item in judged.brackets])
    yield source.measured(
        value,
        f"The brackets of {model} on {task} are balanced in {interval(value)} of answers with brackets{note}.",
        errors,
    )
    for kind in _KINDS:
        items = [item for item, error in errors.items() if error.kind == kind]
        share = intervals.mean([1.0] * len(items) + [0.0] * (total - len(items)))
        words = (
            f"In {interval(share)} of answers with brackets of {model} to {task}, the first error is a bracket {kind}."
        )
        yield Source(_NAME, model, task, kind).measured(share, words, items)
    source = Source(_NAME, model, task, "position of the first error")
    if not errors:
        yield source.not_measurable(f"no answer of {model} to {task} has a bracket error")
        return
    place = intervals.mean([judged.brackets[item].position(error) for item, error in errors.items()])
    words = f"Where brackets of {model} on {task} break, the first error stands at {interval(place)} of the text."
    yield source.measured(place, words, errors)


def _sequences(model: str, task: str, answers: Sequence[Answer]) -> Iterator[Finding]:
    """The closing task: right by depth and length, and how much is closed before the first error."""
    source = Source(_NAME, model, task, _CLOSED)
    if not answers:
        yield source.not_measurable("no answer is stored")
        return
    value = intervals.mean([float(correct(answer)) for answer in answers])
    lost = [answer.item for answer in answers if not correct(answer)]
    yield source.measured(
        value, f"In {interval(value)} of the sequences of {task}, {model} closes all brackets correctly.", lost
    )
    source = Source(_NAME, model, task, "closed before the first error")
    agreed = [_agreed(answer) for answer in answers if answer.target and answer.response.text.strip()]
    if agreed:
        share = intervals.mean(agreed)
        words = f"Before its first error, {model} closes {interval(share)} of the brackets of a sequence of {task}."
        yield source.measured(share, words)
    else:
        yield source.not_measurable("every answer is empty, or the sequences are not stored")
    for axis in ("depth", "length"):
        yield from _by_axis(model, task, axis, [answer for answer in answers if answer.prompt.startswith(_ASK)])


def _by_axis(model: str, task: str, axis: str, answers: Sequence[Answer]) -> Iterator[Finding]:
    """Right sequences by depth, the number of brackets to close, or by length, the number of given brackets."""
    sizes: dict[int, list[Answer]] = {}
    for answer in answers:
        size = len(answer.target) if axis == "depth" else len(answer.prompt.removeprefix(_ASK).strip())
        sizes.setdefault(size, []).append(answer)
    for size, members in sorted(sizes.items()):
        value = intervals.mean([float(correct(answer)) for answer in members])
        words = f"Of the sequences of {axis} {size} of {task}, {model} closes {interval(value)} correctly."
        lost = [answer.item for answer in members if not correct(answer)]
        yield Source(_NAME, model, task, f"closed by {axis}", axis, size).measured(value, words, lost)
    if not sizes:
        yield Source(_NAME, model, task, f"closed by {axis}").not_measurable("the sequences are not stored")


def _agreed(answer: Answer) -> float:
    text, target = (answer.verdict.answer or answer.response.text).strip(), answer.target
    same = next((place for place, mark in enumerate(target) if text[place : place + 1] != mark), len(target))
    return same / len(target)


@dataclass(frozen=True)
class _Compared:
    """Whether brackets are right before and after, on the items for which both can be said."""

    model: DiagnosedModel
    task: TaskRecord
    before: Mapping[str, bool]
    after: Mapping[str, bool]
    is_closing: bool
    note: str

    @property
    def fall(self) -> float:
        """By how much the share of right ones falls."""
        return (sum(self.before.values()) - sum(self.after.values())) / len(self.before)


def _compared(view: RunView, model: DiagnosedModel, task: TaskRecord, judged: Table) -> _Compared | None:
    is_closing = (model.label, task["name"]) not in judged
    labels = (view.base.label, model.label)
    if is_closing:
        columns = [view.answers(view.base, task), view.answers(model, task)]
        right = [{item: correct(answer) for item, answer in column.items()} for column in columns]
    else:
        measured = [judged[label, task["name"]].brackets for label in labels]
        right = [{item: brackets.error is None for item, brackets in column.items()} for column in measured]
    common = [item for item in right[0] if item in right[1]]
    if not common:
        return None
    before, after = ({item: column[item] for item in common} for column in right)
    return _Compared(model, task, before, after, is_closing, common_items(view, model, task))


def _main(view: RunView, tasks: Sequence[TaskRecord], judged: Table) -> Finding:
    """The largest fall of balance or of closed sequences, over pruned models if there are any."""
    models = [model for model in view.models if model.stage == "prune"] or list(view.models)
    compared = [row for model in models for task in tasks if (row := _compared(view, model, task, judged))]
    if not compared:
        why = "no two models have answers with brackets to the same items"
        return Source(_NAME, "base", "", _BALANCED).not_measurable(why)
    row = max(compared, key=lambda row: row.fall)
    after = intervals.mean([float(right) for right in row.after.values()])
    before = intervals.mean([float(right) for right in row.before.values()])
    what = "closes sequences of brackets correctly" if row.is_closing else "balances brackets"
    looks = f"{len(compared)} comparison{'s' * (len(compared) > 1)}"
    verdict = f"the largest fall of {looks}" if row.fall > 0 else f"nothing falls in {looks}"
    sentence = (
        f"On {row.task['name']}, {row.model.label} {what} in {interval(after)} of answers and the unpruned model in "
        f"{interval(before)}: {verdict}{row.note}."
    )
    items = [item for item, right in row.after.items() if row.before[item] and not right]
    measure = _CLOSED if row.is_closing else _BALANCED
    return Source(_NAME, row.model.label, row.task["name"], measure).measured(after, sentence, items)


brackets = Diagnostic(
    _NAME,
    "Brackets and syntax",
    _findings,
    (
        Chart("Brackets without one layer", "layers", (_BALANCED, _CLOSED), "fraction of answers"),
        Chart("Closed sequences by depth", "axis", ("closed by depth",), "fraction closed correctly"),
        Chart("First bracket error", "stacked", _KINDS, "fraction of answers"),
    ),
    source="arXiv 2602.01997, bracket errors; balance by the tokenizer of Python",
    caption=(
        "In programs, brackets in strings and comments do not count. Answers that are empty, cut off, broken or "
        "without brackets are not measured."
    ),
)
