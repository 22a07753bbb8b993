"""Items with the answers of the unpruned, the pruned and the finetuned models."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from layerlimits.analysis.differences import first_difference
from layerlimits.evaluation.artifacts import RecoveredRecord, TaskRecord
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.types import Outcome, Response, Verdict

_SHOWN_ITEMS = 3
Answered = tuple[Response, Verdict]


@dataclass(frozen=True)
class ModelAnswer:
    """A model's answer and its verdict.

    Args:
        model: Name of the model.
        text: The response.
        outcome: Outcome of the verdict.
        value: Score, 0..1.
        differs_at: The first character that differs from the unpruned model's text; None for an equal text.
    """

    model: str
    text: str
    outcome: Outcome
    value: float
    differs_at: int | None = None


@dataclass(frozen=True)
class AnsweredItem:
    """An item with the answers of several models."""

    task: str
    prompt: str
    target: str
    answers: tuple[ModelAnswer, ...]


def samples(answers: StoredAnswers, recovered: Sequence[RecoveredRecord]) -> Iterator[AnsweredItem]:
    """Items that the unpruned model answers correctly, with every model's answer; those lost by pruning come first."""
    if not recovered:
        return
    widest = max(recovered, key=lambda record: record["layers"])
    label = f"without {widest['layers']} layers ({widest['method']})"
    models = {"base": answers.fingerprint(()), label: answers.fingerprint(widest["removed"])}
    models |= {
        f"recovered ({record['name']})": record["fingerprint"]
        for record in recovered
        if record["removed"] == widest["removed"]
    }
    for task in answers.tasks:
        if task["kind"] == "generation":
            yield from _task_samples(answers, task, models)


def _task_samples(answers: StoredAnswers, task: TaskRecord, models: dict[str, str]) -> Iterator[AnsweredItem]:
    columns = {label: answers.answers(model, task) for label, model in models.items()}
    complete = {label: column for label, column in columns.items() if column}
    if len(complete) < len(models) or not answers.has_contents(task):
        return
    base, pruned = list(complete.values())[:2]
    contents = answers.contents(task["name"])
    for position in _largest_losses(base, pruned)[:_SHOWN_ITEMS]:
        content = contents[task["ids"][position]]
        shown = []
        for label, column in complete.items():
            response, verdict = column[position]
            place = first_difference(base[position][0].text, response.text)
            shown.append(ModelAnswer(label, response.text, verdict.outcome, verdict.value, place))
        yield AnsweredItem(task["name"], content["prompt"], content["target"], tuple(shown))


def _largest_losses(base: Sequence[Answered], pruned: Sequence[Answered]) -> list[int]:
    """Positions of the items that the unpruned model answers correctly, those whose score falls most first."""
    graded = any(0 < verdict.value < 1 for _, verdict in base)
    # A graded answer is good or bad, not correct: all are candidates.
    candidates = [position for position, (_, verdict) in enumerate(base) if graded or verdict.outcome == "correct"]
    return sorted(candidates, key=lambda position: pruned[position][1].value - base[position][1].value)
