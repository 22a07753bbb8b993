"""Scores and comparisons of models on tasks, from stored answers: the same for `evaluate`, `sweep` and `study`."""

from collections.abc import Iterator, Sequence
from dataclasses import fields

from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.results.document import EvaluateResults, SweepResults
from layerlimits.results.figures import corrected, paired_test, recognized_only, summary
from layerlimits.results.rows import Comparison, LayerComparison, LayerScore, ProtocolScores, Score, TaskScore
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.results.warnings import warnings
from layerlimits.statistics import intervals


def task_score(answers: StoredAnswers, model: str, task: TaskRecord) -> TaskScore | None:
    """The score of a model (by fingerprint) on a task; None where an answer is missing yet."""
    verdicts = answers.verdicts(model, task)
    if not verdicts:
        return None
    score = summary(verdicts, len(task["ids"]), [task["sets"].get(item) for item in task["ids"]])
    return TaskScore(
        **{field.name: getattr(score, field.name) for field in fields(Score)},
        name=task["name"],
        version=task["version"],
        kind=task["kind"],
        metric=task["metric"],
        chance=task["chance"],
        summary=task["summary"],
        protocol=task["protocol"],
        shots=task["shots"],
        template=task["template"],
        decodings=tuple(task["decodings"]),
    )


def comparison(answers: StoredAnswers, model: str, task: TaskRecord) -> tuple[TaskScore, Comparison] | None:
    """A model's score on a task, and how it compares with the unpruned model's; None where an answer is missing yet."""
    base, values = answers.values(answers.fingerprint(()), task), answers.values(model, task)
    score = task_score(answers, model, task)
    if base is None or values is None or score is None:
        return None
    return score, Comparison(
        task=task["name"],
        chance=task["chance"],
        score=score.score,
        strict=score.strict,
        retention=intervals.retention(base, values),
        corrected=intervals.retention(base, values, task["chance"]) if task["chance"] else None,
        test=paired_test(base, values),
    )


def layer_scores(answers: StoredAnswers, depth: int) -> list[LayerScore]:
    """The model without each of its layers, on every task that is answered."""
    scores, comparisons = [], []
    for layer in range(depth):
        for task in answers.tasks:
            if compared := comparison(answers, answers.fingerprint((layer,)), task):
                scores.append(compared[0])
                comparisons.append(LayerComparison(**vars(compared[1]), layer=layer))
    return [LayerScore(*pair) for pair in zip(scores, corrected(comparisons), strict=True)]


def protocol_scores(answers: StoredAnswers, method: str, removed: Sequence[int]) -> Iterator[ProtocolScores]:
    """A model's scores on the same items by protocol, where tasks are asked by several, and what is recognized only."""
    by_name: dict[str, dict[str, TaskRecord]] = {}
    for task in answers.tasks:
        by_name.setdefault(task["name"].replace(f"@{task['protocol']}", ""), {})[task["protocol"]] = task
    for name, tasks in by_name.items():
        values = {way: answers.values(answers.fingerprint(removed), task) for way, task in tasks.items()}
        complete = {way: scores for way, scores in values.items() if scores is not None}
        if len(tasks) < 2 or len(complete) < len(tasks):
            continue
        known, written = complete.get("likelihood"), complete.get("free")
        only = recognized_only(known, written) if known and written else None
        scores = {way: intervals.mean(scores) for way, scores in complete.items()}
        yield ProtocolScores(name, method, len(removed), scores, only)


def evaluate_results(answers: StoredAnswers, decoding: str, difference: float) -> EvaluateResults:
    """The scores of the unpruned model; all its answers are stored."""
    scores = _base_scores(answers)
    return EvaluateResults(
        model=answers.ref.path,
        fingerprint=answers.ref.fingerprint,
        decoding=decoding,
        scores=scores,
        protocols=tuple(protocol_scores(answers, "base", ())),
        warnings=tuple(warnings(scores, difference)),
    )


def sweep_results(answers: StoredAnswers, depth: int, difference: float) -> SweepResults:
    """The scores of the unpruned model and of the model without each layer; all their answers are stored."""
    base = _base_scores(answers)
    rows = layer_scores(answers, depth)
    return SweepResults(answers.ref.path, depth, base, tuple(rows), tuple(warnings(base, difference)))


def _base_scores(answers: StoredAnswers) -> tuple[TaskScore, ...]:
    scores = [task_score(answers, answers.fingerprint(()), task) for task in answers.tasks]
    return tuple(score for score in scores if score is not None)
