"""What a model costs: time and memory per token, tokens per correct answer, and both together against the base."""

from collections.abc import Iterator, Mapping, Sequence

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
)
from layerlimits.evaluation.artifacts import TaskRecord, TimingRecord
from layerlimits.statistics import intervals
from layerlimits.types import Estimate

_NAME = "cost"
_RELATIVE = "time per correct answer against the unpruned model"


def _findings(view: RunView) -> Iterator[Finding]:
    tasks = [task for task in view.tasks if task["kind"] == "generation"]
    timed = {tuple(sorted(record["removed"])): record for record in view.timings}
    rows = list(_tokens(view, tasks))
    relative = list(_relative(view, tasks, timed))
    yield _main(relative)
    yield from rows
    yield from relative
    yield from _times(view, timed)


def _tokens(view: RunView, tasks: Sequence[TaskRecord]) -> Iterator[Finding]:
    for task in tasks:
        for model in every_model(view):
            source = Source(_NAME, model.label, task["name"], "tokens per correct answer")
            value = _per_correct(list(view.answers(model, task).values()))
            if value is None:
                yield source.not_measurable(f"{model.label} has no correct answer to {task['name']}")
                continue
            sentence = (
                f"{model.label.capitalize()} writes {value.estimate:.0f} tokens per correct answer to {task['name']} "
                f"(n = {value.n})."
            )
            yield source.measured(value, sentence)


def _per_correct(answers: Sequence[Answer]) -> Estimate | None:
    """Tokens of all answers divided by the number of correct ones; the interval is that of the "
    "share of correct ones.
    """
    if not answers or not any(map(correct, answers)):
        return None
    mean = sum(len(answer.response.tokens) for answer in answers) / len(answers)
    share = intervals.mean([float(correct(answer)) for answer in answers])
    return Estimate(mean / share.estimate, mean / share.high, mean / max(share.low, 1e-9), share.n)


def _relative(
    view: RunView, tasks: Sequence[TaskRecord], timed: Mapping[tuple[int, ...], TimingRecord]
) -> Iterator[Finding]:
    """Seconds per correct answer relative to the unpruned model: speed, length and accuracy in one figure."""
    base = timed.get(())
    for task in tasks:
        before = _per_correct(list(view.answers(view.base, task).values()))
        for model in view.models:
            record = timed.get(model.removed)
            if model.stage == "sweep" or record is None or base is None:
                continue
            source = Source(_NAME, model.label, task["name"], _RELATIVE)
            after = _per_correct(list(view.answers(model, task).values()))
            if before is None or after is None:
                which = "the unpruned model" if before is None else model.label
                yield source.not_measurable(f"{which} has no correct answer to {task['name']}")
                continue
            gain = _median(record["tokens_per_s"]) / _median(base["tokens_per_s"])
            longer = after.estimate / before.estimate
            value = Estimate(longer / gain, after.low / before.high / gain, after.high / before.low / gain, after.n)
            verdict = (
                "a gain" if value.high < 1 else "a loss" if value.low > 1 else "neither a gain nor a loss that n shows"
            )
            sentence = (
                f"{model.label.capitalize()} is {gain:.2f} times as fast a token, and writes {longer:.2f} times "
                f"as many tokens "
                f"per correct answer to {task['name']}: {value.estimate:.2f} ({value.low:.2f} to {value.high:.2f}, "
                f"n = {value.n}) of the unpruned model's time per correct answer, {verdict}."
            )
            yield source.measured(value, sentence)


def _times(view: RunView, timed: Mapping[tuple[int, ...], TimingRecord]) -> Iterator[Finding]:
    labels: dict[tuple[int, ...], DiagnosedModel] = {
        model.removed: model for model in reversed(every_model(view)) if model.stage in ("base", "prune", "sweep")
    }
    for removed, record in timed.items():
        label = labels[removed].label if removed in labels else f"without {len(removed)} layers"
        values = sorted(1000 / rate for rate in record["tokens_per_s"])
        middle = values[len(values) // 2]
        value = Estimate(middle, values[0], values[-1], len(values))
        sentence = (
            f"{label.capitalize()} takes {middle:.1f} ms per output token (median of {len(values)} runs), with "
            f"{record['parameters']:,} parameters and {record['memory_bytes'] / 1e9:.2f} GB of weights and cache."
        )
        yield Source(_NAME, label, "", "ms per output token").measured(value, sentence)
        for name, number in (("parameters", record["parameters"]), ("memory in bytes", record["memory_bytes"])):
            exact = Estimate(float(number), float(number), float(number), 1)
            yield Source(_NAME, label, "", name).measured(exact, f"{label.capitalize()}: {number:,} {name}.")


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _main(relative: Sequence[Finding]) -> Finding:
    measured = [row for row in relative if row.value]
    if not measured:
        return Source(_NAME, "base", "", _RELATIVE).not_measurable("no pruned model was timed and has correct answers")
    best = min(measured, key=lambda row: row.estimate or 0)
    assert best.value
    return Source(_NAME, best.model, best.task, f"lowest {_RELATIVE}").measured(best.value, f"At best: {best.sentence}")


cost = Diagnostic(
    _NAME,
    "What a correct answer costs",
    _findings,
    (
        Chart("Time per correct answer against the unpruned model", "bars", (_RELATIVE,), "ratio"),
        Chart("Tokens per correct answer", "bars", ("tokens per correct answer",), "tokens"),
    ),
    caption="A model that is 20% faster a token and writes 40% more has gained nothing. Below 1 is a gain.",
)
