"""Whether wrong answers degenerate: repetition, similar sentences, loops, length and truncation."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from layerlimits.analysis.repetition import loop_onset, repetition, self_bleu, units
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
    is_graded,
)
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.statistics import intervals
from layerlimits.types import Estimate

_NAME = "degeneration"
_SOUND = "sound share of lost items"
# A text degenerates if it loops until its end or if most of its 3-grams repeat an earlier one.
_MOST_REPEATED = 0.5
# BLEU takes a millisecond or two per answer; of each model and task, these many answers are compared.
_BLEU_ANSWERS = 25
Measure = Callable[[Answer], float | None]


def degenerate(answer: Answer) -> bool | None:
    """Whether a response loops until its end or repeats most of its 3-grams; None for an empty one."""
    parts = units(answer.response.text)
    if not parts:
        return None
    # An imported run may have texts without tokens.
    if loop_onset(answer.response.tokens) is not None or (not answer.response.tokens and _unit_loop(parts)):
        return True
    repeated = repetition(parts, 3)
    return repeated is not None and repeated > _MOST_REPEATED


def _unit_loop(parts: Sequence[str]) -> bool:
    numbers = {part: number for number, part in enumerate(dict.fromkeys(parts))}
    return loop_onset([numbers[part] for part in parts]) is not None


def _rep(n: int) -> Measure:
    return lambda answer: repetition(units(answer.response.text), n)


def _onset(answer: Answer) -> float | None:
    onset = loop_onset(answer.response.tokens)
    return None if onset is None else float(onset)


def _loops(answer: Answer) -> float | None:
    return float(loop_onset(answer.response.tokens) is not None) if answer.response.tokens else None


def _tokens(answer: Answer) -> float | None:
    return float(len(answer.response.tokens)) if answer.response.tokens or not answer.response.text else None


@dataclass(frozen=True)
class _Measured:
    """A measure of single answers: its sentence about {model} and {task}, and why it can be missing."""

    measure: Measure
    words: str
    missing: str
    is_count: bool = False


_SHORT = "no answer is long enough"
_MEASURES: Mapping[str, _Measured] = {
    **{
        f"rep-{n}": _Measured(_rep(n), f"In answers of {{model}} to {{task}}, {{value}} of {n}-grams repeat.", _SHORT)
        for n in (2, 3, 4)
    },
    "loops": _Measured(_loops, "Of the answers of {model} to {task}, {value} loop until their end.", "no tokens"),
    "loop onset": _Measured(_onset, "Loops of {model} on {task} begin at token {value}.", "no answer loops", True),
    "tokens": _Measured(_tokens, "Answers of {model} to {task} have {value} tokens.", "no tokens are stored", True),
    "truncated": _Measured(
        lambda answer: float(answer.response.finish == "length"),
        "Of the answers of {model} to {task}, {value} reach the length limit.",
        "no answer is stored",
    ),
}


@dataclass(frozen=True)
class _Lost:
    """The lost items of a model: by item with a text, whether that text is sound; and how many texts are empty."""

    model: DiagnosedModel
    task: TaskRecord
    sound: Mapping[str, bool]
    empty: int
    graded: bool
    note: str


def _findings(view: RunView) -> Iterator[Finding]:
    tasks = [task for task in view.tasks if task["kind"] == "generation"]
    if not tasks:
        yield Source(_NAME, "base", "", _SOUND).not_measurable("the run has no generation task")
        return
    lost = [_lost(view, model, task) for task in tasks for model in view.models]
    yield _main(lost)
    yield from map(_sound_share, lost)
    for model in every_model(view):
        for task in tasks:
            yield from _measured(model, task, list(view.answers(model, task).values()))


def _lost(view: RunView, model: DiagnosedModel, task: TaskRecord) -> _Lost:
    pairs = view.pairs(model, task)
    lost = [other for base, other in pairs if correct(base) and not correct(other)]
    states = {answer.item: degenerate(answer) for answer in lost}
    sound = {item: not state for item, state in states.items() if state is not None}
    graded = is_graded(answer for pair in pairs for answer in pair)
    return _Lost(model, task, sound, len(states) - len(sound), graded, common_items(view, model, task))


def _empty(count: int) -> str:
    return f"; {count} empty answer{'s are' if count > 1 else ' is'} not counted" if count else ""


def _sound_share(lost: _Lost) -> Finding:
    label, task = lost.model.label, lost.task["name"]
    source = Source(_NAME, label, task, _SOUND)
    if lost.graded:
        return source.not_measurable(f"answers to {task} are graded, not lost")
    if not lost.sound:
        return source.not_measurable(f"{label} loses no item of {task} with a text{_empty(lost.empty)}", lost.empty)
    value = intervals.mean([float(sound) for sound in lost.sound.values()])
    note = lost.note + _empty(lost.empty)
    sentence = f"Of the items of {task} that {label} loses, {interval(value)} have a sound text{note}."
    return source.measured(value, sentence, [item for item, sound in lost.sound.items() if sound])


def _main(lost: Sequence[_Lost]) -> Finding:
    """The share over all pruned models, or over single layers if no model was pruned.

    An item counts once, by the share of the models that lose it with a sound text, since models lose the same items.
    """
    is_pruned = any(row.model.stage == "prune" for row in lost)
    what = "pruned models" if is_pruned else "models without one layer"
    rows = [row for row in lost if (row.model.stage == "prune" or not is_pruned) and not row.graded]
    by_item: dict[tuple[str, str], list[bool]] = {}
    for row in rows:
        for item, sound in row.sound.items():
            by_item.setdefault((row.task["name"], item), []).append(sound)
    source, empty = Source(_NAME, what, "", "sound share of all lost items"), sum(row.empty for row in rows)
    if not by_item:
        return source.not_measurable(f"no item with a text was lost{_empty(empty)}", empty)
    value = intervals.mean([sum(sound) / len(sound) for sound in by_item.values()])
    sentence = (
        f"Of the items that {what} get wrong and the unpruned model right, {interval(value)} have a sound text, which "
        f"neither loops nor mostly repeats its 3-grams: their loss is not degeneration{_empty(empty)}."
    )
    return source.measured(value, sentence, dict.fromkeys(item for (_, item), sound in by_item.items() if any(sound)))


def _measured(model: DiagnosedModel, task: TaskRecord, answers: Sequence[Answer]) -> Iterator[Finding]:
    for name, about in _MEASURES.items():
        yield _mean(Source(_NAME, model.label, task["name"], name), answers, about)
    words = (
        f"The sentences of an answer of {{model}} to {{task}} have a self-BLEU-4 of {{value}}, in the first "
        f"{_BLEU_ANSWERS} answers."
    )
    bleu = _Measured(lambda answer: self_bleu(answer.response.text), words, "no answer has two sentences")
    yield _mean(Source(_NAME, model.label, task["name"], "self-BLEU-4"), answers[:_BLEU_ANSWERS], bleu)


def _mean(source: Source, answers: Sequence[Answer], about: _Measured) -> Finding:
    numbers = {answer.item: number for answer in answers if (number := about.measure(answer)) is not None}
    if not numbers:
        return source.not_measurable(about.missing if answers else "no answer is stored")
    value = _count(list(numbers.values())) if about.is_count else intervals.mean(list(numbers.values()))
    shown = f"{value.estimate:.1f} ({value.low:.1f} to {value.high:.1f}, n = {value.n})"
    text = about.words.format(model=source.model, task=source.task, value=shown if about.is_count else interval(value))
    flagged = source.measure in ("loops", "truncated")
    return source.measured(value, text, [item for item, number in numbers.items() if number] if flagged else ())


def _count(numbers: Sequence[float]) -> Estimate:
    """The mean of counts; the method of the interval is for values in 0..1."""
    largest = max(*numbers, 1.0)
    scaled = intervals.mean([number / largest for number in numbers])
    return Estimate(scaled.estimate * largest, scaled.low * largest, scaled.high * largest, scaled.n)


degeneration = Diagnostic(
    _NAME,
    "Degenerate text, or sound text with wrong content",
    _findings,
    (
        Chart("Repetition and truncation without one layer", "layers", ("rep-3", "loops", "truncated"), "fraction"),
        Chart("Lost items whose text is sound", "bars", (_SOUND,), "fraction of lost items"),
    ),
    source="rep-n of arXiv 1908.04319 and self-BLEU of arXiv 1802.01886, as in arXiv 2602.01997",
    caption="A wrong answer degenerates if it loops until its end or repeats most of its 3-grams.",
)
