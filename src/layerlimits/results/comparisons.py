"""Scores and comparisons of models on tasks, from stored answers; shared by `evaluate`, `sweep` and `study`."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace

from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.results.document import EvaluateResults, SweepResults
from layerlimits.results.figures import corrected, paired_test, recognized_only, summary, tests
from layerlimits.results.rows import (
    Comparison,
    LayerComparison,
    LayerScore,
    ProtocolScores,
    Score,
    TaskScore,
    Truncation,
)
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.results.texts import base_model, layer_models, text_scores
from layerlimits.results.truncation import has_limit, truncated, truncated_thinking, truncation
from layerlimits.results.warnings import decided_by_truncation, warnings
from layerlimits.statistics import intervals


def task_score(answers: StoredAnswers, model: str, task: TaskRecord) -> TaskScore | None:
    """The score of a model, named by its fingerprint, on a task; None if an answer is missing."""
    found = answers.every_answer(model, task)
    if not found:
        return None
    sets = [task["sets"].get(item) for item in task["ids"]]
    score = summary([verdict for _, verdict in found], len(task["ids"]), sets)
    if has_limit(task):
        score = replace(score, truncated=truncated(found), truncated_thinking=truncated_thinking(found))
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
        set_aside=task.get("set_aside"),
    )


def comparison(answers: StoredAnswers, model: str, task: TaskRecord) -> tuple[TaskScore, Comparison] | None:
    """A model's score on a task and its comparison with the unpruned model; None if an answer is missing."""
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
        truncation=truncation_of(answers, model, task),
    )


def truncation_of(answers: StoredAnswers, model: str, task: TaskRecord) -> Truncation | None:
    """The truncation of a model's responses to a task and of the unpruned model's; None if nothing has a limit."""
    if not has_limit(task):
        return None
    base, other = answers.every_answer(answers.fingerprint(()), task), answers.every_answer(model, task)
    return truncation(base, other, len(task["ids"])) if base and other else None


def layer_scores(answers: StoredAnswers, layers: Iterable[int]) -> list[LayerScore]:
    """The scores with each of the layers skipped alone, on every task whose answers are complete."""
    scores, comparisons = [], []
    for layer in layers:
        for task in answers.tasks:
            if compared := comparison(answers, answers.fingerprint((layer,)), task):
                scores.append(compared[0])
                comparisons.append(LayerComparison(**vars(compared[1]), layer=layer))
    return [LayerScore(*pair) for pair in zip(scores, corrected(comparisons), strict=True)]


def protocol_scores(answers: StoredAnswers, method: str, removed: Sequence[int]) -> Iterator[ProtocolScores]:
    """A model's scores by protocol on the same items, and its recognition-only rate, for tasks with several protocols.

    Args:
        answers: The stored answers.
        method: Method that selected the removed layers, or "base".
        removed: The removed layers.
    """
    by_name: dict[str, dict[str, TaskRecord]] = {}
    for task in answers.tasks:
        by_name.setdefault(task["name"].replace(f"@{task['protocol']}", ""), {})[task["protocol"]] = task
    for name, tasks in by_name.items():
        values = {protocol: answers.values(answers.fingerprint(removed), task) for protocol, task in tasks.items()}
        complete = {protocol: scores for protocol, scores in values.items() if scores is not None}
        if len(tasks) < 2 or len(complete) < len(tasks):
            continue
        known, written = complete.get("likelihood"), complete.get("free")
        only = recognized_only(known, written) if known and written else None
        scores = {protocol: intervals.mean(scores) for protocol, scores in complete.items()}
        yield ProtocolScores(name, method, len(removed), scores, only)


def evaluate_results(answers: StoredAnswers, decoding: str, difference: float) -> EvaluateResults:
    """The scores of the unpruned model, whose answers must all be stored."""
    scores = _base_scores(answers)
    return EvaluateResults(
        model=answers.ref.path,
        fingerprint=answers.ref.fingerprint,
        decoding=decoding,
        scores=scores,
        protocols=tuple(protocol_scores(answers, "base", ())),
        warnings=tuple(warnings(scores, difference)),
        texts=text_scores(answers, [base_model(answers)]),
    )


def sweep_results(answers: StoredAnswers, layers: Sequence[int], depth: int, difference: float) -> SweepResults:
    """The scores of the unpruned model and of the model without each of the layers; all answers must be stored.

    Args:
        answers: The stored answers.
        layers: The skipped layers, one at a time.
        depth: Number of layers of the model.
        difference: Difference in accuracy to detect, 0 to 0.5.
    """
    base = _base_scores(answers)
    rows = layer_scores(answers, layers)
    family = tests(row.comparison for row in rows)
    cut = [(f"layer {row.comparison.layer}", row.comparison) for row in rows if row.comparison.retention]
    remarks = [*warnings(base, difference, family), *decided_by_truncation(cut)]
    texts = text_scores(answers, [base_model(answers), *layer_models(answers, layers)])
    return SweepResults(answers.ref.path, depth, base, tuple(rows), tuple(remarks), texts=texts)


def _base_scores(answers: StoredAnswers) -> tuple[TaskScore, ...]:
    scores = [task_score(answers, answers.fingerprint(()), task) for task in answers.tasks]
    return tuple(score for score in scores if score is not None)
