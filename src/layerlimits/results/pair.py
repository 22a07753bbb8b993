"""The comparison of two checkpoints of any depth and origin on the same items, from stored answers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from layerlimits.chat_options import PLAIN, ChatOptions
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.evaluation.store import Store
from layerlimits.results.comparisons import task_score
from layerlimits.results.figures import any_paired_test, corrected, tests
from layerlimits.results.frames import Document
from layerlimits.results.rows import PairedTest, TaskScore, Truncation, plain
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.results.texts import TextModel, TextScore, text_score
from layerlimits.results.truncation import has_limit, truncation
from layerlimits.results.warnings import decided_by_truncation, refused, warnings
from layerlimits.statistics import intervals
from layerlimits.types import Estimate, Kind, ModelRef, content_hash


@dataclass(frozen=True)
class ComparedModel:
    """One of the two models.

    Args:
        name: Its folder or hub id.
        fingerprint: Its key in a run folder.
        layers, parameters, weight_bytes: Its size.
        dtype, device: How it was computed.
        vocabulary: Hash of its tokenizer's vocabulary.
        template: Hash of its chat template; None if it has none.
    """

    name: str
    fingerprint: str
    layers: int
    parameters: int
    weight_bytes: int
    dtype: str
    device: str
    vocabulary: str
    template: str | None


@dataclass(frozen=True)
class MeasuredModel:
    """A model whose answers are stored: what results say about it, and its records of the tasks."""

    about: ComparedModel
    ref: ModelRef
    tasks: tuple[TaskRecord, ...]


@dataclass(frozen=True)
class TaskDifference:
    """The scores of two models on a task.

    Args:
        kind, metric, chance, protocol, shots: The task, and how it was asked.
        base: Score of the first model.
        other: Score of the second model.
        difference: Score of the second minus that of the first, paired by item.
        test: McNemar's exact test, in which `lost` and `won` count the items that only the first and only the second
            model answers correctly. For graded values it is the sign-flip test, and they count the items with a lower
            and with a higher value.
        truncation: Responses that reached the token limit; None if nothing is generated.
    """

    task: str
    kind: Kind
    metric: str
    chance: float
    protocol: str
    shots: int
    base: Estimate
    other: Estimate
    difference: Estimate
    test: PairedTest | None
    truncation: Truncation | None = None


@dataclass(frozen=True)
class ClassDifference:
    """The mean difference over the tasks of a class."""

    difference: Estimate
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class CompareResults(Document):
    """The scores of two models on the same items, with paired differences (second minus first) and tests."""

    base: ComparedModel
    other: ComparedModel
    decoding: str
    tasks: tuple[TaskDifference, ...]
    classes: Mapping[Kind, ClassDifference]
    warnings: tuple[str, ...]
    chat: ChatOptions = PLAIN
    texts: tuple[TextScore, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The document as plain JSON values: the models, and the figures by task and by class."""
        return {
            "models": {"base": plain(self.base), "other": plain(self.other)},
            "decoding": self.decoding,
            "chat": plain(self.chat),
            "tasks": {
                row.task: {key: figure for key, figure in plain(row).items() if key != "task"} for row in self.tasks
            },
            "classes": plain(self.classes),
            "texts": plain(self.texts),
            "warnings": list(self.warnings),
        }

    def records(self) -> list[dict[str, Any]]:
        """A row per task."""
        return [
            {"task": row.task, "base": row.base.estimate, "other": row.other.estimate}
            | {"difference": row.difference.estimate, "low": row.difference.low, "high": row.difference.high}
            | {"n": row.difference.n, "p_holm": row.test.p_holm if row.test else None}
            for row in self.tasks
        ]

    @property
    def title(self) -> str:
        """The heading in a notebook."""
        return f"{self.other.name} minus {self.base.name}: paired differences with 95% intervals"

    @property
    def remarks(self) -> Sequence[str]:
        """The warnings."""
        return self.warnings


def compare_results(
    store: Store, base: MeasuredModel, other: MeasuredModel, decoding: str, difference: float
) -> CompareResults:
    """The comparison of two models whose answers are all stored.

    Args:
        store: The run folder.
        base, other: The models; their records name the same items.
        decoding: Name of the decoding of generated answers.
        difference: Difference in accuracy to detect, 0 to 0.5.
    """
    sides = [StoredAnswers(store, model.ref, model.tasks) for model in (base, other)]
    values = {
        tasks[0]["name"]: tuple(_values(side, task) for side, task in zip(sides, tasks, strict=True))
        for tasks in zip(*(side.tasks for side in sides), strict=True)
    }
    scores = [[_score(side, task) for task in side.tasks] for side in sides]
    rows = [
        replace(_row(first, second, *values[first.name]), truncation=_truncation(sides, tasks))
        for first, second, *tasks in zip(*scores, *(side.tasks for side in sides), strict=True)
    ]
    cut = [(base.about.name, row) for row in rows]
    kinds = dict.fromkeys(row.kind for row in rows)
    return CompareResults(
        base=base.about,
        other=other.about,
        decoding=decoding,
        tasks=tuple(corrected(rows)),
        classes={kind: _class([row.task for row in rows if row.kind == kind], values) for kind in kinds},
        warnings=(
            *_differences_in_form(base, other, scores),
            *_warnings(base, other, scores, (difference, tests(rows))),
            *decided_by_truncation(cut),
        ),
        texts=tuple(_texts(sides, (base.about.name, other.about.name))),
    )


def _texts(sides: Sequence[StoredAnswers], names: Sequence[str]) -> Iterator[TextScore]:
    """The perplexities of both models on each task."""
    for tasks in zip(*(side.texts for side in sides), strict=True):
        nats = [_values(side, task) for side, task in zip(sides, tasks, strict=True)]
        sizes = [[task["documents"][item] for item in task["ids"]] for task in tasks]
        first, second = (TextModel(name, side.ref.fingerprint, "base") for name, side in zip(names, sides, strict=True))
        yield text_score(first, tasks[0], nats[0], sizes[0], None)
        yield text_score(second, tasks[1], nats[1], sizes[1], nats[0], sizes[0])


def _values(answers: StoredAnswers, task: TaskRecord) -> list[float]:
    values = answers.values(answers.ref.fingerprint, task)
    assert values is not None, "every item was just answered"
    return values


def _score(answers: StoredAnswers, task: TaskRecord) -> TaskScore:
    score = task_score(answers, answers.ref.fingerprint, task)
    assert score is not None, "every item was just answered"
    return score


def _row(base: TaskScore, other: TaskScore, first: Sequence[float], second: Sequence[float]) -> TaskDifference:
    return TaskDifference(
        task=base.name,
        kind=base.kind,
        metric=base.metric,
        chance=base.chance,
        protocol=base.protocol,
        shots=base.shots,
        base=base.score,
        other=other.score,
        difference=intervals.difference([(first, second)]),
        test=any_paired_test(first, second),
    )


def _truncation(sides: Sequence[StoredAnswers], tasks: Sequence[TaskRecord]) -> Truncation | None:
    found = [side.every_answer(side.ref.fingerprint, task) for side, task in zip(sides, tasks, strict=True)]
    if not has_limit(tasks[0]) or found[0] is None or found[1] is None:
        return None
    return truncation(found[0], found[1], len(tasks[0]["ids"]))


def _class(names: Sequence[str], values: Mapping[str, tuple[list[float], ...]]) -> ClassDifference:
    return ClassDifference(intervals.difference([(values[name][0], values[name][1]) for name in names]), tuple(names))


def _differences_in_form(
    base: MeasuredModel, other: MeasuredModel, scores: Sequence[Sequence[TaskScore]]
) -> Iterator[str]:
    """What differs between the models besides their weights."""
    one, two = base.about, other.about
    if one.fingerprint == two.fingerprint:
        yield f"{one.name} and {two.name} are the same checkpoint, so that all differences are 0."
        return
    if one.vocabulary != two.vocabulary:
        yield (
            "The models have different tokenizers: both read the same texts, as different tokens. Limits on the length "
            "of answers count each model's own tokens."
        )
    apart = [first.name for first, second in zip(*scores, strict=True) if first.template != second.template]
    if apart:
        forms = " and ".join(f"{name} with {_form(rows, apart[0])}" for name, rows in _named(base, other, scores))
        yield f"The models are asked in different templates in {', '.join(apart)}: {forms}."
    if one.dtype != two.dtype:
        yield f"{one.name} was computed in {one.dtype}, and {two.name} in {two.dtype}."


def _form(scores: Sequence[TaskScore], task: str) -> str:
    template = next(score.template for score in scores if score.name == task)
    return f"its own chat template ({template})" if template else "plain text"


def _named(
    base: MeasuredModel, other: MeasuredModel, scores: Sequence[Sequence[TaskScore]]
) -> Iterable[tuple[str, Sequence[TaskScore]]]:
    return zip((base.about.name, other.about.name), scores, strict=True)


def _warnings(
    base: MeasuredModel, other: MeasuredModel, scores: Sequence[Sequence[TaskScore]], detectable: tuple[float, int]
) -> Iterator[str]:
    """Warnings; `detectable` are the difference in accuracy to detect and the number of tests."""
    first, second = scores
    prompts = refused(first)
    yield from (sentence for sentence in warnings(first, *detectable) if sentence not in prompts)
    for name, rows in _named(base, other, (first, second)):
        yield from (f"{name}: {sentence}" for sentence in refused(rows))


def vocabulary_hash(vocabulary: Mapping[str, int]) -> str:
    """Hash of a tokenizer's vocabulary."""
    return content_hash(sorted(vocabulary.items()))
