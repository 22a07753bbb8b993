"""Run the diagnostics on the stored answers of a run."""

from collections.abc import Iterator, Mapping

from layerlimits.diagnostics import Answered, Diagnostic
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.plugins import find, names
from layerlimits.results.rows import DiagnosticMean
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.statistics import intervals


def diagnose(answers: StoredAnswers, models: Mapping[str, str]) -> Iterator[DiagnosticMean]:
    """The mean of every measure of every diagnostic, for each model and each task it applies to.

    Args:
        answers: The stored answers.
        models: Model fingerprints by label.
    """
    diagnostics: list[Diagnostic] = [find("diagnostics", name) for name in names("diagnostics")]
    for label, model in models.items():
        for task in answers.tasks:
            chosen = [diagnostic for diagnostic in diagnostics if applies(diagnostic, task)]
            if not answers.has_contents(task):
                chosen = [diagnostic for diagnostic in chosen if not diagnostic.reads_item]
            answered = _answered(answers, model, task) if chosen else None
            for diagnostic in chosen if answered else ():
                yield from _measured(diagnostic, label, task["name"], answered or [])


def applies(diagnostic: Diagnostic, task: TaskRecord) -> bool:
    """Whether a diagnostic applies to a task: a generation task, and one of the diagnostic's tasks if it lists any."""
    return task["kind"] == "generation" and (diagnostic.tasks is None or task["name"] in diagnostic.tasks)


def _answered(answers: StoredAnswers, model: str, task: TaskRecord) -> list[Answered] | None:
    responses = answers.answers(model, task)
    if responses is None:
        return None
    contents = answers.contents(task["name"]) if answers.has_contents(task) else {}
    return [
        Answered(content.get("prompt", ""), content.get("target", ""), response, verdict)
        for item, (response, verdict) in zip(task["ids"], responses, strict=True)
        for content in [contents.get(item, {})]
    ]


def _measured(diagnostic: Diagnostic, label: str, task: str, answered: list[Answered]) -> Iterator[DiagnosticMean]:
    values: dict[str, list[float]] = {}
    for item in answered:
        for measure, value in diagnostic.measure(item).items():
            values.setdefault(measure, []).append(value)
    for measure, numbers in values.items():
        yield DiagnosticMean(diagnostic.name, label, task, measure, intervals.mean(numbers))
