"""All stored answers of a study by item, with every model side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from layerlimits.diagnostics import DiagnosedModel
from layerlimits.evaluation.artifacts import Artifacts, TaskRecord
from layerlimits.evaluation.store import Store
from layerlimits.results.diagnose import StoredRun
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.types import Kind, Outcome


@dataclass(frozen=True)
class BookAnswer:
    """An answer: the position of its model, the response, and its verdict."""

    model: int
    text: str
    outcome: Outcome
    value: float
    answer: str
    why: str


@dataclass(frozen=True)
class BookItem:
    """An item of a task and a draw, with all answers to it; prompt and target are empty if the run has no texts."""

    item: str
    draw: int
    prompt: str
    target: str
    answers: tuple[BookAnswer, ...]


@dataclass(frozen=True)
class BookTask:
    """A task with its items; `graded` is whether scores of items can lie between 0 and 1."""

    name: str
    kind: Kind
    graded: bool
    items: tuple[BookItem, ...]


@dataclass(frozen=True)
class AnswerBook:
    """All answers of a study; the unpruned model is the first one."""

    models: tuple[DiagnosedModel, ...]
    tasks: tuple[BookTask, ...]


def answer_book(store: Store) -> AnswerBook:
    """The answers in a run folder.

    Raises:
        UserError: The folder contains neither a study nor answers of `evaluate` or `sweep`.
    """
    answers = StoredAnswers.of_run(store)
    view = StoredRun(answers, Artifacts(store))
    models = (view.base, *view.models)
    return AnswerBook(models, tuple(_task(view, models, task) for task in answers.tasks))


def _task(view: StoredRun, models: Sequence[DiagnosedModel], task: TaskRecord) -> BookTask:
    items = tuple(_items(view, models, task))
    graded = any(0 < answer.value < 1 for item in items for answer in item.answers)
    return BookTask(task["name"], task["kind"], graded, items)


def _items(view: StoredRun, models: Sequence[DiagnosedModel], task: TaskRecord) -> Iterator[BookItem]:
    for draw in range(len(task["decodings"])):
        columns = [view.answers(model, task, draw) for model in models]
        for item in task["ids"]:
            found = [(place, column[item]) for place, column in enumerate(columns) if item in column]
            if found:
                content = found[0][1]
                shown = tuple(
                    BookAnswer(
                        place,
                        each.response.text,
                        each.verdict.outcome,
                        each.verdict.value,
                        each.verdict.answer,
                        each.verdict.why,
                    )
                    for place, each in found
                )
                yield BookItem(item, draw, content.prompt, content.target, shown)
