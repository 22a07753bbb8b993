"""What a model costs: time and memory per token, tokens per correct answer, and both together against the base."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

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
    is_graded,
    percent,
)
from layerlimits.evaluation.artifacts import TaskRecord, TimingRecord
from layerlimits.statistics.costs import cost_per_success, relative_cost
from layerlimits.types import Estimate

_NAME = "cost"
_TOKENS = "tokens per correct answer"
_RELATIVE = "time per correct answer against the unpruned model"
Timings = Mapping[tuple[int, ...], TimingRecord]


def _findings(view: RunView) -> Iterator[Finding]:
    tasks = [task for task in view.tasks if task["kind"] == "generation"]
    timed = {tuple(sorted(record["removed"])): record for record in view.timings}
    relative = list(_relative(view, tasks, timed))
    yield _main(view, relative)
    for task in tasks:
        for model in every_model(view):
            yield _tokens(Source(_NAME, model.label, task["name"], _TOKENS), list(view.answers(model, task).values()))
    yield from relative
    yield from _times(view, timed)


def _missing(label: str, task: str, answers: Sequence[Answer]) -> str | None:
    """Why answers have no cost per correct one."""
    if not answers:
        return "no answer is stored"
    if is_graded(answers):
        return f"answers to {task} are graded, not right or wrong"
    if not any(answer.response.tokens for answer in answers):
        return f"{label} has no tokens in its answers to {task}"
    return None if any(map(correct, answers)) else f"{label} has no correct answer to {task}"


def _columns(answers: Sequence[Answer]) -> tuple[list[float], list[float]]:
    """The number of tokens of each answer, and whether it is correct."""
    return [float(len(answer.response.tokens)) for answer in answers], [float(correct(answer)) for answer in answers]


def _tokens(source: Source, answers: Sequence[Answer]) -> Finding:
    why = _missing(source.model, source.task, answers)
    value = None if why else cost_per_success(*_columns(answers))
    if value is None:
        return source.not_measurable(why or "no answer has a cost", len(answers))
    shown = _range(value, 0 if value.estimate >= 100 else 1)
    sentence = f"On {source.task}, {source.model} writes {shown} tokens per correct answer."
    return source.measured(value, sentence)


def _range(value: Estimate, digits: int) -> str:
    return f"{value.estimate:,.{digits}f} ({value.low:,.{digits}f} to {value.high:,.{digits}f}, n = {value.n})"


def _relative(view: RunView, tasks: Sequence[TaskRecord], timed: Timings) -> Iterator[Finding]:
    """Seconds per correct answer relative to the unpruned model: speed, length and accuracy in one figure."""
    for task in tasks:
        for model in view.models:
            if model.stage != "sweep":
                yield _gain(view, model, task, timed)


def _gain(view: RunView, model: DiagnosedModel, task: TaskRecord, timed: Timings) -> Finding:
    source = Source(_NAME, model.label, task["name"], _RELATIVE)
    base, record = timed.get(()), timed.get(tuple(sorted(model.removed)))
    if base is None or record is None:
        return source.not_measurable(f"{'the unpruned model' if base is None else model.label} was not timed")
    pairs = view.pairs(model, task)
    if not pairs:
        return source.not_measurable("no two models have answered the same items")
    before, after = ([pair[side] for pair in pairs] for side in (0, 1))
    why = _missing("the unpruned model", task["name"], before) or _missing(model.label, task["name"], after)
    (tokens_before, right_before), (tokens_after, right_after) = _columns(before), _columns(after)
    longer = None if why else relative_cost((tokens_before, tokens_after), (right_before, right_after))
    if longer is None:
        return source.not_measurable(why or "no answer has a cost", len(pairs))
    # Each repeat times all models in turn, so rates of the same repeat are compared.
    rates = zip(record["tokens_per_s"], base["tokens_per_s"], strict=False)
    faster = median(rate / unpruned for rate, unpruned in rates)
    value = Estimate(longer.estimate / faster, longer.low / faster, longer.high / faster, longer.n)
    sentence = (
        f"On {task['name']}, {model.label} generates {faster:.2f} times as many tokens per second and requires "
        f"{longer.estimate:.2f} times as many per correct answer, which takes {_range(value, 2)} times as long as the "
        f"unpruned model's{common_items(view, model, task)}: {_verdict(value)}."
    )
    return source.measured(value, sentence)


def _verdict(value: Estimate) -> str:
    if value.high < 1:
        return "time is gained"
    return "time is lost" if value.low > 1 else "neither a gain nor a loss is shown"


def _times(view: RunView, timed: Timings) -> Iterator[Finding]:
    labels: dict[tuple[int, ...], str] = {}
    for model in every_model(view):
        if model.stage != "recover":
            labels.setdefault(tuple(sorted(model.removed)), model.label)
    base = timed.get(())
    for removed, record in timed.items():
        label = labels.get(removed, f"without {len(removed)} layers")
        yield from _speed(label, record)
        for name, number, whole in (
            ("parameters", record["parameters"], base and base["parameters"]),
            ("bytes of memory", record["memory_bytes"], base and base["memory_bytes"]),
        ):
            exact = Estimate(float(number), float(number), float(number), 1)
            share = f", {percent(number / whole)} of the unpruned model's" if whole and removed else ""
            words = f"The number of {name} of {label} is {number:,}{share}."
            yield Source(_NAME, label, "", name).measured(exact, words)
    if not timed:
        yield Source(_NAME, "base", "", "tokens per second").not_measurable("the run has not timed any model")


def _speed(label: str, record: TimingRecord) -> Iterator[Finding]:
    """Median and range over the repeats."""
    rates, firsts = record["tokens_per_s"], record.get("first_token_s", [])
    prompts, new_tokens = record.get("prompts", 0), record.get("new_tokens", 0)
    shape = "on prompts that the run does not describe"
    if prompts:
        shape = (
            f"with {prompts} prompts of {record.get('prompt_tokens', 0)} tokens at once, {new_tokens} new tokens each"
        )
    yield _repeats(Source(_NAME, label, "", "tokens per second"), rates, "generates {} tokens per second", shape)
    sources = [Source(_NAME, label, "", measure) for measure in ("ms to first token", "ms per output token")]
    if not firsts or new_tokens < 2:
        yield from (source.not_measurable("the run was timed without the first token") for source in sources)
        return
    totals = [prompts * new_tokens / rate for rate in rates]
    steps = [(total - first) / (new_tokens - 1) for total, first in zip(totals, firsts, strict=True)]
    yield _repeats(sources[0], [1000 * first for first in firsts], "takes {} ms until the first token", shape)
    yield _repeats(sources[1], [1000 * step for step in steps], "takes {} ms per further token of an answer", shape)


def _repeats(source: Source, values: Sequence[float], words: str, shape: str) -> Finding:
    value = Estimate(median(values), min(values), max(values), len(values))
    shown = f"{value.estimate:.4g} ({value.low:.4g} to {value.high:.4g}"
    times = f"{value.n} run{'s' * (value.n > 1)})"
    sentence = f"The model {source.model} {words.format(f'{shown} in {times}')}, {shape}."
    return source.measured(value, sentence)


def _main(view: RunView, relative: Sequence[Finding]) -> Finding:
    measured = [row for row in relative if row.value]
    if not measured:
        source = Source(_NAME, "base", "", f"lowest {_RELATIVE}")
        if not any(model.stage != "sweep" for model in view.models):
            return source.not_measurable("the run has no pruned model")
        return source.not_measurable(
            relative[0].sentence.removeprefix("not measurable: ") if relative else "no task asks for text"
        )
    best = min(measured, key=lambda row: row.estimate or 0)
    assert best.value
    sentence = f"The best of {len(measured)}: {best.sentence[:1].lower()}{best.sentence[1:]}"
    return Source(_NAME, best.model, best.task, f"lowest {_RELATIVE}").measured(best.value, sentence)


cost = Diagnostic(
    _NAME,
    "What a correct answer costs",
    _findings,
    (
        Chart("Time per correct answer against the unpruned model", "bars", (_RELATIVE,), "ratio"),
        Chart("Tokens per correct answer", "bars", (_TOKENS,), "tokens"),
    ),
    caption=(
        "A model that is 20% faster a token and writes 40% more has gained nothing. Below 1 is a gain. A finetuned "
        "model is as fast as the pruned one. Intervals are over items; speeds have the range of the runs."
    ),
)
