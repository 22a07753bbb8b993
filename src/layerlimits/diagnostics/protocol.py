"""Whether an answer is gone or only not given: protocols side by side, its rank and probability, samples, length, and
second chances.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from layerlimits.analysis.passes import pass_at_k
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
)
from layerlimits.diagnostics import _second_chances as again
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.statistics import intervals
from layerlimits.types import Estimate

_NAME = "protocol"
_CASES = {
    "both": (True, True),
    "recognition only": (True, False),
    "generation only": (False, True),
    "neither": (False, False),
}
# Numbers of tokens after which a right answer must have ended.
_ALLOWED = (16, 32, 64, 128, 256, 512, 1024)


def _findings(view: RunView) -> Iterator[Finding]:
    rows = [
        *(finding for model in every_model(view) for finding in _cases(view, model)),
        *(finding for task in view.tasks for model in every_model(view) for finding in _of_task(view, model, task)),
        *(finding for task in view.tasks for finding in again.findings(view, task)),
    ]
    yield _main(view, rows)
    yield from rows


def _of_task(view: RunView, model: DiagnosedModel, task: TaskRecord) -> Iterator[Finding]:
    answers = view.answers(model, task)
    if not answers:
        return
    if task["protocol"] == "likelihood":
        yield from _ranks(model.label, task, list(answers.values()))
    elif task["kind"] == "generation":
        yield from _by_tokens(model.label, task["name"], list(answers.values()))
        if len(task["decodings"]) > 1:
            yield from _passes(view, model, task)


def _cases(view: RunView, model: DiagnosedModel) -> Iterator[Finding]:
    """The same items by likelihood and in free generation."""
    by_name: dict[str, dict[str, TaskRecord]] = {}
    for task in view.tasks:
        by_name.setdefault(task["name"].replace(f"@{task['protocol']}", ""), {})[task["protocol"]] = task
    for name, tasks in by_name.items():
        if not {"likelihood", "free"} <= tasks.keys():
            continue
        known, written = view.answers(model, tasks["likelihood"]), view.answers(model, tasks["free"])
        items = [item for item in known if item in written]
        for case, (recognized, generated) in _CASES.items():
            members = [
                item for item in items if (correct(known[item]), correct(written[item])) == (recognized, generated)
            ]
            source = Source(_NAME, model.label, name, case)
            if not items:
                yield source.not_measurable("no item was asked under both protocols")
                continue
            value = intervals.mean([float(item in set(members)) for item in items])
            words = f"{model.label.capitalize()} has {interval(value)} of the items of {name} right by: {case}."
            yield source.measured(value, words, members if case != "both" else ())


def _ranks(model: str, task: TaskRecord, answers: Sequence[Answer]) -> Iterator[Finding]:
    """Where the right choice stands among the choices, and the probability that the choices give it."""
    ranked: list[tuple[Answer, int, float]] = []
    for answer in answers:
        place = _right_choice(answer)
        logprobs = answer.response.logprobs
        if place is not None and len(logprobs) > place and all(map(math.isfinite, logprobs)):
            rank = 1 + sum(other > logprobs[place] for other in logprobs)
            largest = max(logprobs)
            weights = [math.exp(other - largest) for other in logprobs]
            ranked.append((answer, rank, weights[place] / sum(weights)))
    if not ranked:
        return
    name = task["name"]
    wrong = [(answer, rank) for answer, rank, _ in ranked if rank > 1]
    if wrong:
        second = intervals.mean([float(rank == 2) for _, rank in wrong])
        words = (
            f"Where {model} prefers a wrong choice of {name}, the right one is second in {interval(second)}: demoted "
            "rather than gone."
        )
        yield Source(_NAME, model, name, "right choice second").measured(
            second, words, [answer.item for answer, _ in wrong]
        )
    chance = intervals.mean([probability for _, _, probability in ranked])
    words = f"Among the choices of {name}, {model} gives the right one {interval(chance)} of the probability."
    yield Source(_NAME, model, name, "probability of the right choice").measured(chance, words)


def _right_choice(answer: Answer) -> int | None:
    choices = list(answer.content.get("choices") or ()) if answer.content else []
    return choices.index(answer.target) if answer.target in choices else None


def _by_tokens(model: str, task: str, answers: Sequence[Answer]) -> Iterator[Finding]:
    """The share of answers that are right and have ended within a number of tokens."""
    longest = max(len(answer.response.tokens) for answer in answers)
    for allowed in (*(size for size in _ALLOWED if size < longest), longest):
        value = intervals.mean(
            [float(correct(answer) and len(answer.response.tokens) <= allowed) for answer in answers]
        )
        words = f"Within {allowed} tokens, {model} has {interval(value)} of {task} right."
        yield Source(_NAME, model, task, "right within tokens", "tokens", allowed).measured(value, words)


def _passes(view: RunView, model: DiagnosedModel, task: TaskRecord) -> Iterator[Finding]:
    """pass@k over the sampled answers."""
    draws = [view.answers(model, task, draw) for draw in range(len(task["decodings"]))]
    items = [item for item in draws[0] if all(item in draw for draw in draws)]
    if not items:
        return
    counts = [sum(correct(draw[item]) for draw in draws) for item in items]
    k = 1
    while k <= len(draws):
        value = intervals.mean([pass_at_k(len(draws), right, k) for right in counts])
        words = (
            f"Of {len(draws)} samples, at least one of {k} of {model.label} on {task['name']} is right with "
            f"probability {interval(value)}."
        )
        yield Source(_NAME, model.label, task["name"], "pass@k", "k", k).measured(value, words)
        k *= 2


def _main(view: RunView, rows: Sequence[Finding]) -> Finding:
    """The model with the largest share of items that are recognized and not generated; otherwise of demoted choices."""
    pruned = {model.label for model in view.models if model.stage == "prune"}
    others = [row for row in rows if row.value and row.model != "base" and (row.model in pruned or not pruned)]
    for measure in ("recognition only", "right choice second"):
        base: Mapping[str, Estimate] = {
            row.task: row.value for row in rows if row.measure == measure and row.model == "base" and row.value
        }
        chosen = [row for row in others if row.measure == measure]
        if chosen:
            best = max(chosen, key=lambda row: row.estimate or 0)
            assert best.value
            tail = f" The unpruned model: {interval(base[best.task])}." if best.task in base else ""
            return Source(_NAME, best.model, best.task, measure).measured(best.value, best.sentence + tail, best.items)
    return Source(_NAME, "base", "", "recognition only").not_measurable(
        "no task was asked both by likelihood and freely, and no choice task has wrong answers of a pruned model"
    )


protocol = Diagnostic(
    _NAME,
    "Gone, or not given",
    _findings,
    (
        Chart("The same items by likelihood and in free generation", "stacked", tuple(_CASES), "fraction of items"),
        Chart("Right answers within a number of tokens", "axis", ("right within tokens",), "fraction right"),
        Chart("pass@k", "axis", ("pass@k",), "probability"),
        Chart("Lost items, asked again", "bars", tuple(each.measure for each in again.CHANCES), "fraction right"),
    ),
    source="pass@k of arXiv 2107.03374; protocols of arXiv 2606.17609",
    caption="Recognition only: right by likelihood, wrong when written. Second: demoted, not gone. Lost items that one "
    "example brings back were not gone either.",
)
