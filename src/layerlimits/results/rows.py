"""The rows that the documents of `document.py` are made of. Their fields are the keys of their JSON form."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from layerlimits.types import AskFormat, Estimate, Kind, Outcome


def plain(value: Any) -> Any:
    """A value of a document as JSON values: dataclasses as objects, tuples as arrays."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


@dataclass(frozen=True)
class PairedTest:
    """McNemar's exact test against the unpruned model on the same items: how many were lost and won.

    `p_holm` is corrected over all tests of its table, None before that is done.
    """

    lost: int
    won: int
    p: float
    p_holm: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the models differ at the 5% level after correction."""
        return self.p_holm is not None and self.p_holm <= 0.05


@dataclass(frozen=True)
class Score:
    """What the verdicts on a task's items say of one model.

    `strict` is None where a task has only one way to score. `measures` holds further scores by name, `sets` the scores
    of the benchmark's parts, `outcomes` how many responses were correct, wrong and so on. `draws` counts the responses
    of each item; `graded` tells that values lie between 0 and 1; `refused` counts prompts that did not fit.
    """

    score: Estimate
    strict: Estimate | None
    measures: Mapping[str, Estimate]
    sets: Mapping[str, Estimate]
    outcomes: Mapping[Outcome, int]
    draws: int
    graded: bool
    refused: int


@dataclass(frozen=True)
class TaskScore(Score):
    """The score of a model on a task, with how the task is asked."""

    name: str
    version: int
    kind: Kind
    metric: str
    chance: float
    summary: str
    protocol: AskFormat
    shots: int
    template: str | None
    decodings: tuple[str, ...]

    def printed(self) -> dict[str, Any]:
        """The JSON form that `evaluate` and `sweep` print: the score's own figures at the top."""
        content = plain(self)
        score = content.pop("score")
        left_out = ("name", "kind", "summary", "decodings")
        return {
            "score": score.pop("estimate"),
            **score,
            **{key: content[key] for key in content if key not in left_out},
        }


@dataclass(frozen=True)
class Comparison:
    """A pruned model's score on a task against the unpruned model's, on the same items.

    `retention` is None where nothing can be retained, `corrected` (for chance) also where nothing can be guessed;
    `test` is None where values are graded.
    """

    task: str
    chance: float
    score: Estimate
    strict: Estimate | None
    retention: Estimate | None
    corrected: Estimate | None
    test: PairedTest | None

    @property
    def kept(self) -> Estimate | None:
        """Retention above chance where something can be guessed, else raw; None where nothing can be retained."""
        return self.corrected if self.chance else self.retention


@dataclass(frozen=True)
class LayerComparison(Comparison):
    """The model without one layer."""

    layer: int


@dataclass(frozen=True)
class LayerScore:
    """A task's score without one layer, and how it compares with the unpruned model's."""

    score: TaskScore
    comparison: LayerComparison

    def printed(self) -> dict[str, Any]:
        """The JSON form that `sweep` prints."""
        compared = plain(self.comparison)
        return self.score.printed() | {key: compared[key] for key in ("retention", "corrected", "test")}


@dataclass(frozen=True)
class PlanComparison(Comparison):
    """The model without the layers that a method removes at a ratio; `layers` counts them."""

    method: str
    ratio: float
    layers: int
    removed: tuple[int, ...]


@dataclass(frozen=True)
class ClassRetention:
    """Mean retention over the tasks of a class; `left_out` are at chance unpruned."""

    method: str
    ratio: float
    layers: int
    removed: tuple[int, ...]
    kind: Kind
    chance: float
    retention: Estimate | None
    corrected: Estimate | None
    tasks: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def kept(self) -> Estimate | None:
        """As `Comparison.kept`."""
        return self.corrected if self.chance else self.retention


@dataclass(frozen=True)
class ModelInfo:
    """The unpruned model."""

    name: str
    fingerprint: str
    layers: int
    parameters: int
    weight_bytes: int
    dtype: str
    device: str


@dataclass(frozen=True)
class MethodOrder:
    """The order in which a method removes layers, from looking at `items` items."""

    method: str
    order: tuple[int, ...]
    scores: tuple[float | None, ...]
    source: str
    seconds: float
    items: int


@dataclass(frozen=True)
class ProtocolScores:
    """A model's scores on the same items by protocol; `recognition_only` is right by likelihood, wrong when written."""

    task: str
    method: str
    layers: int
    scores: Mapping[str, Estimate]
    recognition_only: Estimate | None


@dataclass(frozen=True)
class Regained:
    """A task's scores before pruning, after it, and after finetuning; `regained` is the share of the loss."""

    task: str
    kind: Kind
    base: Estimate
    pruned: Estimate
    recovered: Estimate
    regained: Estimate | None


@dataclass(frozen=True)
class Recovery:
    """A finetuned model: its kind of finetuning, on how many answers and tokens, and what came back."""

    name: str
    method: str
    ratio: float
    layers: int
    removed: tuple[int, ...]
    settings: Mapping[str, Any]
    examples: int
    dropped: int
    trained_tokens: int
    seconds: float
    tasks: tuple[Regained, ...]


@dataclass(frozen=True)
class DiagnosticMean:
    """The mean of a diagnostic's measure over a model's answers to a task."""

    diagnostic: str
    model: str
    task: str
    measure: str
    value: Estimate


@dataclass(frozen=True)
class Speed:
    """Size and decoding speed of a model: median and range of interleaved repeats."""

    model: str
    removed: tuple[int, ...]
    parameters: int
    weight_bytes: int
    peak_bytes: int
    tokens_per_s: Estimate
    speedup: Estimate | None


@dataclass(frozen=True)
class ModelAnswer:
    """What a model answered, and how that was judged."""

    model: str
    text: str
    outcome: Outcome
    value: float


@dataclass(frozen=True)
class AnsweredItem:
    """An item with the answers of several models."""

    task: str
    prompt: str
    target: str
    answers: tuple[ModelAnswer, ...]


@dataclass(frozen=True)
class Stage:
    """How long a stage of a study took."""

    stage: str
    seconds: float
