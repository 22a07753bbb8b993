"""The rows of the documents in `document.py`. Their field names are the keys of the JSON form."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from layerlimits.results.curves import RecoveryCurve, RegainedClass
from layerlimits.types import AskFormat, Estimate, Kind, Outcome


def plain(value: Any) -> Any:
    """Convert a value to plain JSON values: dataclasses to objects, tuples to arrays."""
    if is_dataclass(value):
        return {part.name: plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


@dataclass(frozen=True)
class PairedTest:
    """McNemar's exact test against the unpruned model on the same items.

    Args:
        lost: Number of items that only the unpruned model answers correctly.
        won: Number of items that only this model answers correctly.
        p: Two-sided p-value.
        p_holm: p-value corrected over all tests of its table; None before the correction.
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
class Truncation:
    """How far truncation explains the difference between two models on a task.

    Args:
        base, other: Number of responses of either model that reached the token limit.
        share: Part of the difference between the scores on items where exactly one of the models was truncated without
            repeating itself; None if the scores are equal.
        decides: Whether the comparison is decided by truncation; see `results.truncation`.
    """

    base: int
    other: int
    share: float | None
    decides: bool


@dataclass(frozen=True)
class Score:
    """The scores of one model on a task.

    Args:
        score: Mean score over items.
        strict: Mean score that counts only answers in the required format; None if the task does not distinguish them.
        measures: Further scores by name.
        sets: Scores by subset of the benchmark.
        outcomes: Number of responses by outcome.
        draws: Number of responses per item.
        graded: Whether scores of single items can lie between 0 and 1.
        refused: Number of prompts that exceed the model's context.
        truncated: Number of responses that reached the token limit.
        truncated_thinking: Number of these that were still reasoning.
    """

    score: Estimate
    strict: Estimate | None
    measures: Mapping[str, Estimate]
    sets: Mapping[str, Estimate]
    outcomes: Mapping[Outcome, int]
    draws: int
    graded: bool
    refused: int
    truncated: int = field(default=0, kw_only=True)
    truncated_thinking: int = field(default=0, kw_only=True)


@dataclass(frozen=True)
class TaskScore(Score):
    """The score of a model on a task; `set_aside` is the reason why it is measured no further, or None."""

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
    set_aside: str | None = None

    def printed(self) -> dict[str, Any]:
        """The JSON form that `evaluate` and `sweep` print: the main score and its interval at the top level."""
        content = plain(self)
        score = content.pop("score")
        left_out = ("name", "kind", "summary", "decodings", "set_aside")
        return {
            "score": score.pop("estimate"),
            **score,
            **{key: content[key] for key in content if key not in left_out},
        }


@dataclass(frozen=True)
class Comparison:
    """A pruned model's score on a task compared with the unpruned model's on the same items.

    Args:
        task: Name of the task.
        chance: Score of random guessing.
        score: Mean score of the pruned model.
        strict: Its mean score under strict extraction; None if the task does not distinguish it.
        retention: Score / unpruned score; None if the unpruned score is 0.
        corrected: Retention corrected for chance; None if the chance is 0 or the unpruned model is not above it.
        test: None if values are graded.
        truncation: Responses that reached the token limit; None if nothing is generated.
    """

    task: str
    chance: float
    score: Estimate
    strict: Estimate | None
    retention: Estimate | None
    corrected: Estimate | None
    test: PairedTest | None
    truncation: Truncation | None = field(default=None, kw_only=True)

    @property
    def adjusted_retention(self) -> Estimate | None:
        """Chance-corrected retention if the chance is above 0, else raw retention; None if it is not measurable."""
        return self.corrected if self.chance else self.retention


@dataclass(frozen=True)
class LayerComparison(Comparison):
    """The comparison of the model without one layer."""

    layer: int


@dataclass(frozen=True)
class LayerScore:
    """A task's score without one layer, and its comparison with the unpruned model's."""

    score: TaskScore
    comparison: LayerComparison

    def printed(self) -> dict[str, Any]:
        """The JSON form that `sweep` prints."""
        compared = plain(self.comparison)
        return self.score.printed() | {key: compared[key] for key in ("retention", "corrected", "test", "truncation")}


@dataclass(frozen=True)
class PlanComparison(Comparison):
    """The comparison of the model without the layers that a method removes at a ratio; `layers` is their number."""

    method: str
    ratio: float
    layers: int
    removed: tuple[int, ...]


@dataclass(frozen=True)
class ClassRetention:
    """Mean retention over the tasks of a class; `left_out` are tasks on which the unpruned model is at chance.

    `too_few` names the included tasks with too few items for an interval that holds (`intervals.enough_items`).
    """

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
    too_few: tuple[str, ...] = ()

    @property
    def adjusted_retention(self) -> Estimate | None:
        """See `Comparison.adjusted_retention`."""
        return self.corrected if self.chance else self.retention


@dataclass(frozen=True)
class MethodOrder:
    """The order in which a method removes layers, based on `items` items."""

    method: str
    order: tuple[int, ...]
    scores: tuple[float | None, ...]
    source: str
    seconds: float
    items: int


@dataclass(frozen=True)
class ProtocolScores:
    """A model's scores on the same items by protocol.

    `recognition_only` is the share of items that are correct by likelihood and wrong in free generation.
    """

    task: str
    method: str
    layers: int
    scores: Mapping[str, Estimate]
    recognition_only: Estimate | None


@dataclass(frozen=True)
class Regained:
    """A task's scores unpruned, pruned and finetuned, on the same items.

    Args:
        regained: Recovered share of the loss; None if the loss is not significant.
        change: Finetuned minus pruned score.
        pruned_test, base_test: Paired tests of the finetuned model against the pruned and the unpruned one.
    """

    task: str
    kind: Kind
    base: Estimate
    pruned: Estimate
    recovered: Estimate
    regained: Estimate | None
    change: Estimate | None = None
    pruned_test: PairedTest | None = None
    base_test: PairedTest | None = None


@dataclass(frozen=True)
class Recovery:
    """A finetuned model: kind and objective of the finetuning, training data, recovered scores, and the curve.

    `curve` is None if the model was not evaluated during the training. `harm` is a sentence if finetuning made scores
    worse, else empty.
    """

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
    objective: str = "self"
    classes: tuple[RegainedClass, ...] = ()
    curve: RecoveryCurve | None = None
    harm: str = ""


@dataclass(frozen=True)
class Speed:
    """Size and decoding speed of a model; speeds are median and range over interleaved repeats."""

    model: str
    removed: tuple[int, ...]
    parameters: int
    weight_bytes: int
    peak_bytes: int
    tokens_per_s: Estimate
    speedup: Estimate | None


@dataclass(frozen=True)
class Stage:
    """The duration of a stage of a study."""

    stage: str
    seconds: float
