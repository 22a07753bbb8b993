"""Diagnostics measure what exactly pruned models lose. Each file exports one `Diagnostic` named like the file.

A diagnostic reads the stored answers of a run through a `RunView` and yields findings; it never loads a model.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from layerlimits.types import Estimate, Response, Verdict

if TYPE_CHECKING:
    from layerlimits.evaluation.artifacts import TaskRecord, TimingRecord

# The stage of a study that evaluates a model.
ModelStage = Literal["base", "sweep", "prune", "recover"]
# What a chart shows: lines over the skipped layer, lines over `Finding.x`, bars by model, or shares stacked by model.
ChartKind = Literal["layers", "axis", "bars", "stacked"]


@dataclass(frozen=True)
class DiagnosedModel:
    """A model of a run: the unpruned one, one without a single layer, a pruned or a finetuned one.

    Args:
        label: Its name in findings, such as "base", "without layer 3" or "reverse, 4 layers removed".
        stage: The stage that evaluates it.
        removed: The removed layers.
        fingerprint: Its fingerprint.
        parent: Label of the pruned model that was finetuned; empty for others.
    """

    label: str
    stage: ModelStage
    removed: tuple[int, ...]
    fingerprint: str
    parent: str = ""


@dataclass(frozen=True)
class Answer:
    """A stored answer. `content` has the item's prompt, target, choices and meta; an imported run may lack it."""

    item: str
    response: Response
    verdict: Verdict
    content: Mapping[str, Any] | None = None

    @property
    def prompt(self) -> str:
        """The item's prompt; empty if the item is not stored."""
        return str(self.content["prompt"]) if self.content else ""

    @property
    def target(self) -> str:
        """The item's correct answer; empty if the item is not stored."""
        return str(self.content["target"]) if self.content else ""


class RunView(Protocol):
    """The stored answers of a run, as diagnostics see them.

    `models` has every model but the unpruned one (`base`); `tasks` has the tasks that are not set aside; `layers` is
    the number of layers of the unpruned model; `timings` are those of the speed stage.
    """

    base: DiagnosedModel
    models: Sequence[DiagnosedModel]
    tasks: "Sequence[TaskRecord]"
    layers: int
    timings: "Sequence[TimingRecord]"

    def answers(self, model: DiagnosedModel, task: "TaskRecord", draw: int = 0) -> Mapping[str, Answer]:
        """The stored answers of a model to a task by item id, in the order of the items."""
        ...

    def pairs(self, model: DiagnosedModel, task: "TaskRecord") -> Sequence[tuple[Answer, Answer]]:
        """The answers of the unpruned and of another model to the items that both have answered."""
        ...


@dataclass(frozen=True)
class Finding:
    """A measure of a model with its 95% interval, the number of items, and the items it rests on.

    Args:
        diagnostic: Name of the diagnostic.
        model: Label of the model, or labels of the compared models.
        task: Name of the task; empty for a finding about several.
        measure: What is measured.
        estimate, low, high: The estimate and its interval; all None if nothing can be measured.
        n: Number of items (or of what the sentence counts).
        sentence: The finding in one plain sentence that contains its numbers.
        items: Ids of the items it rests on, such as the lost ones.
        axis, x: Name and value of a position, such as ("depth", 3); None if the measure has no axis.
    """

    diagnostic: str
    model: str
    task: str
    measure: str
    estimate: float | None
    low: float | None
    high: float | None
    n: int
    sentence: str
    items: tuple[str, ...] = ()
    axis: str = ""
    x: float | None = None

    @property
    def value(self) -> Estimate | None:
        """The estimate with its interval, if something was measured."""
        if self.estimate is None or self.low is None or self.high is None:
            return None
        return Estimate(self.estimate, self.low, self.high, self.n)


@dataclass(frozen=True)
class Source:
    """What a finding is about: the diagnostic, the model, the task and the measure, and a position on an axis."""

    diagnostic: str
    model: str
    task: str
    measure: str
    axis: str = ""
    x: float | None = None

    def measured(self, value: Estimate, sentence: str, items: Iterable[str] = ()) -> Finding:
        """A finding with an estimate."""
        return Finding(
            self.diagnostic,
            self.model,
            self.task,
            self.measure,
            value.estimate,
            value.low,
            value.high,
            value.n,
            sentence,
            tuple(items),
            self.axis,
            self.x,
        )

    def not_measurable(self, why: str, n: int = 0) -> Finding:
        """A finding without an estimate; `why` completes "not measurable: ..."."""
        about = (self.diagnostic, self.model, self.task, self.measure)
        return Finding(*about, None, None, None, n, f"not measurable: {why}", (), self.axis, self.x)


@dataclass(frozen=True)
class Chart:
    """A chart of a diagnostic's section in the report.

    Args:
        title: Its heading.
        kind: What it shows.
        measures: The measures drawn, in this order; a measure without findings is omitted.
        y: Label of the vertical axis.
        note: A sentence on how to read it.
    """

    title: str
    kind: ChartKind
    measures: tuple[str, ...]
    y: str = "fraction of items"
    note: str = ""


@dataclass(frozen=True)
class Diagnostic:
    """A diagnostic of a run.

    Args:
        name: Name of the diagnostic.
        title: Heading of its section in the report.
        findings: The findings; the first one is the main finding, whose sentence introduces the section.
        charts: The charts of its section.
        source: Reference for the measures.
        caption: How to read the section, in one or two sentences.
    """

    name: str
    title: str
    findings: Callable[[RunView], Iterable[Finding]]
    charts: tuple[Chart, ...] = ()
    source: str = "ours"
    caption: str = ""


def every_model(view: RunView) -> Sequence[DiagnosedModel]:
    """The unpruned model, then the others."""
    return (view.base, *view.models)


def correct(answer: Answer) -> bool:
    """Whether an answer has its full score."""
    return answer.verdict.value >= 1


def percent(share: float) -> str:
    """A share in words: 12.5%, 3%."""
    text = f"{100 * share:.1f}".removesuffix(".0")
    return f"{text}%"


def interval(value: Estimate) -> str:
    """An estimate of a share with its interval, for sentences: 12% (5% to 20%, n = 48)."""
    return f"{percent(value.estimate)} ({percent(value.low)} to {percent(value.high)}, n = {value.n})"
