"""Whether wrong answers degenerate: repetition, similar sentences, loops, length and truncation."""

from collections.abc import Callable, Iterator, Sequence

from layerlimits.analysis.repetition import loop_onset, repetition, self_bleu, units
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
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.statistics import intervals
from layerlimits.types import Estimate

_NAME = "degeneration"
# A text degenerates if it loops until its end, is cut off while it repeats itself, or repeats most of its 3-grams.
_MOST_REPEATED = 0.5
# BLEU takes a millisecond or two per answer; of each model and task, these many answers are compared.
_BLEU_ANSWERS = 25
Measure = Callable[[Answer], float | None]


def degenerate(answer: Answer) -> bool | None:
    """Whether a response degenerates; None for an empty one."""
    if not answer.response.text.strip():
        return None
    if loop_onset(answer.response.tokens) is not None:
        return True
    repeated = repetition(units(answer.response.text), 3)
    return repeated is not None and repeated > _MOST_REPEATED


def _rep(n: int) -> Measure:
    return lambda answer: repetition(units(answer.response.text), n)


def _onset(answer: Answer) -> float | None:
    onset = loop_onset(answer.response.tokens)
    return None if onset is None else float(onset)


def _loops(answer: Answer) -> float | None:
    return float(loop_onset(answer.response.tokens) is not None) if answer.response.tokens else None


_MEASURES: dict[str, tuple[Measure, str]] = {
    "rep-2": (_rep(2), "of the 2-grams of {model} on {task} repeat an earlier one: {value}."),
    "rep-3": (_rep(3), "of the 3-grams of {model} on {task} repeat an earlier one: {value}."),
    "rep-4": (_rep(4), "of the 4-grams of {model} on {task} repeat an earlier one: {value}."),
    "loops": (_loops, "of the answers of {model} to {task} loop until their end: {value}."),
    "loop onset": (_onset, "Loops of {model} on {task} begin at token {value} on average."),
    "tokens": (lambda answer: float(len(answer.response.tokens)), "Answers of {model} to {task} have {value} tokens."),
    "truncated": (
        lambda answer: float(answer.response.finish == "length"),
        "of the answers of {model} to {task} reach the length limit: {value}.",
    ),
}
_COUNTS = ("loop onset", "tokens")


def _findings(view: RunView) -> Iterator[Finding]:
    tasks = [task for task in view.tasks if task["kind"] == "generation"]
    if not tasks:
        yield Source(_NAME, "base", "", "sound share of lost items").not_measurable("the run has no generation task")
        return
    sound = {(model.label, task["name"]): _sound_losses(view, model, task) for model in view.models for task in tasks}
    yield _main(view, sound)
    for (label, name), (answers, items) in sound.items():
        source = Source(_NAME, label, name, "sound share of lost items")
        if not answers:
            yield source.not_measurable(f"{label} loses no item of {name} with a text")
            continue
        value = intervals.mean(answers)
        sentence = (
            f"Of the items of {name} that {label} loses, the text is sound in {interval(value)}: not only degeneration."
        )
        yield source.measured(value, sentence, items)
    for model in every_model(view):
        for task in tasks:
            yield from _measured(model, task, list(view.answers(model, task).values()))


def _sound_losses(view: RunView, model: DiagnosedModel, task: TaskRecord) -> tuple[list[float], list[str]]:
    """For each lost item with a text, whether it does not degenerate; and the items whose text is sound."""
    lost = [other for base, other in view.pairs(model, task) if correct(base) and not correct(other)]
    judged = [(answer.item, state) for answer in lost if (state := degenerate(answer)) is not None]
    return [float(not state) for _, state in judged], [item for item, state in judged if not state]


def _main(view: RunView, sound: dict[tuple[str, str], tuple[list[float], list[str]]]) -> Finding:
    """The share over all models that have more than a single layer removed, or over single layers if there are none."""
    stages = {model.label: model.stage for model in view.models}
    chosen = [key for key in sound if stages[key[0]] == "prune"] or list(sound)
    values = [value for key in chosen for value in sound[key][0]]
    items = [item for key in chosen for item in sound[key][1]]
    what = "pruned models" if any(stages[key[0]] == "prune" for key in chosen) else "models without one layer"
    source = Source(_NAME, what, "", "sound share of all lost items")
    if not values:
        return source.not_measurable("no item with a text was lost")
    value = intervals.mean(values)
    sentence = (
        f"Of the answers that {what} get wrong and the unpruned model right, {interval(value)} are sound "
        f"text: neither a "
        "loop nor mostly repeated 3-grams."
    )
    return source.measured(value, sentence, dict.fromkeys(items))


def _measured(model: DiagnosedModel, task: TaskRecord, answers: Sequence[Answer]) -> Iterator[Finding]:
    for name, (measure, words) in _MEASURES.items():
        numbers = [number for answer in answers if (number := measure(answer)) is not None]
        yield _mean(Source(_NAME, model.label, task["name"], name), numbers, words)
    compared = [score for answer in answers[:_BLEU_ANSWERS] if (score := self_bleu(answer.response.text)) is not None]
    words = (
        f"Sentences of an answer of {{model}} to {{task}} have a self-BLEU-4 of {{value}} (first "
        f"{_BLEU_ANSWERS} answers)."
    )
    yield _mean(Source(_NAME, model.label, task["name"], "self-BLEU-4"), compared, words)


def _mean(source: Source, numbers: Sequence[float], words: str) -> Finding:
    if not numbers:
        why = "no answer loops" if source.measure == "loop onset" else "no answer is long enough"
        return source.not_measurable(why)
    value = _estimate(source.measure, numbers)
    shown = f"{value.estimate:.1f} ({value.low:.1f} to {value.high:.1f}, n = {value.n})"
    text = words.format(
        model=source.model, task=source.task, value=shown if source.measure in _COUNTS else interval(value)
    )
    return source.measured(value, text[0].upper() + text[1:])


def _estimate(measure: str, numbers: Sequence[float]) -> Estimate:
    if measure not in _COUNTS:
        return intervals.mean(numbers)
    # The interval's method is for values in 0..1.
    largest = max(*numbers, 1.0)
    scaled = intervals.mean([number / largest for number in numbers])
    return Estimate(scaled.estimate * largest, scaled.low * largest, scaled.high * largest, scaled.n)


degeneration = Diagnostic(
    _NAME,
    "Degenerate text, or sound text with wrong content",
    _findings,
    (
        Chart("Repetition and truncation without one layer", "layers", ("rep-3", "loops", "truncated"), "fraction"),
        Chart("Lost items whose text is sound", "bars", ("sound share of lost items",), "fraction of lost items"),
    ),
    source="rep-n of arXiv 1908.04319 and self-BLEU of arXiv 1802.01886, as in arXiv 2602.01997",
    caption="A wrong answer degenerates if it loops until its end or repeats most of its 3-grams.",
)
