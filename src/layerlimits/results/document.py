"""The results of every command as typed documents; docs/results.md documents every key of their JSON form.

Reports, tables, `--json` and Python code read these classes. `to_json` converts them to plain JSON values; an
`Estimate` becomes `{"estimate", "low", "high", "n"}`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from layerlimits.results.rows import (
    AnsweredItem,
    ClassRetention,
    DiagnosticMean,
    LayerComparison,
    LayerScore,
    MethodOrder,
    ModelInfo,
    PlanComparison,
    ProtocolScores,
    Recovery,
    Speed,
    Stage,
    TaskScore,
    plain,
)


class Document:
    """Base class of results: a dataclass whose JSON form `--json` prints."""

    def to_json(self) -> dict[str, Any]:
        """The document as plain JSON values."""
        content: dict[str, Any] = plain(self)
        return content


@dataclass(frozen=True)
class EvaluateResults(Document):
    """A model's scores on tasks, in the order in which the tasks were given."""

    model: str
    fingerprint: str
    decoding: str
    scores: tuple[TaskScore, ...]
    protocols: tuple[ProtocolScores, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The document as plain JSON values: scores by task; protocols only with a recognition-only rate."""
        return {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "decoding": self.decoding,
            "scores": {score.name: score.printed() for score in self.scores},
            "protocols": {
                row.task: {protocol: score.estimate for protocol, score in row.scores.items()}
                | {"recognition_only": plain(row.recognition_only)}
                for row in self.protocols
                if row.recognition_only
            },
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class SweepResults(Document):
    """The scores of the unpruned model and of the model without each layer: one row per layer and task."""

    model: str
    layers: int
    base: tuple[TaskScore, ...]
    sweep: tuple[LayerScore, ...]
    warnings: tuple[str, ...]

    def by_layer(self) -> dict[int, list[LayerScore]]:
        """The rows by layer, in the order of the tasks."""
        rows: dict[int, list[LayerScore]] = {}
        for row in self.sweep:
            rows.setdefault(row.comparison.layer, []).append(row)
        return rows

    def to_json(self) -> dict[str, Any]:
        """The document as plain JSON values: base scores by task, and one row per layer with its scores by task."""
        return {
            "model": self.model,
            "layers": self.layers,
            "base": {score.name: score.printed() for score in self.base},
            "sweep": [
                {"layer": layer, "scores": {row.score.name: row.printed() for row in rows}}
                for layer, rows in self.by_layer().items()
            ],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class MethodRanking:
    """A method's ranking.

    Args:
        scores: One entry per layer; None if the layer has no score or an infinite one, which JSON cannot represent.
        infinite: Layers with an infinite score.
        order: Layers in the order of removal.
        used: Ids of the items that the method used.
        items: Number of items in `used`.
    """

    method: str
    scores: tuple[float | None, ...]
    infinite: tuple[int, ...]
    order: tuple[int, ...]
    largest_first: bool
    layers: int
    protected: tuple[int, ...]
    items: int
    used: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class RankResults(Document):
    """The ranking of a model's layers by one method."""

    model: str
    ranking: MethodRanking

    def to_json(self) -> dict[str, Any]:
        """The ranking and the model's name as plain JSON values."""
        return {"model": self.model, **plain(self.ranking)}


@dataclass(frozen=True)
class RankingsComparison(Document):
    """Rankings of several methods and their agreement on the first `n` layers; `failed` holds reasons by method."""

    model: str
    layers: int
    n: int
    rankings: Mapping[str, MethodRanking]
    failed: Mapping[str, str]
    kendall_tau: Mapping[str, Mapping[str, float | None]]
    overlap: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class PruneResults(Document):
    """A pruned checkpoint: its folder, its base model, and its removed and kept layers."""

    model: str
    base: str
    method: str
    replacement: str
    removed: tuple[int, ...]
    kept: tuple[int, ...]
    layers: int


@dataclass(frozen=True)
class RecoverResults(Document):
    """A finetuned checkpoint; `trained_tokens` counts response tokens over all epochs.

    `adapted` and `not_adapted` name the weight matrices with and without LoRA adapters; both are empty without LoRA.
    """

    model: str
    parent: str
    pruned: str
    examples: int
    dropped: int
    trained_tokens: int
    seconds: float
    adapted: tuple[str, ...] = ()
    not_adapted: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoreResults(Document):
    """The score of a file of responses to `n` of the `of` items of a benchmark; `items` holds the verdicts."""

    task: str
    version: int
    metric: str
    score: float
    strict: float | None
    n: int
    of: int
    verdicts: Mapping[str, int]
    items: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class StagePlan:
    """The planned work of a stage: number of models, number of responses, and estimated seconds."""

    stage: str
    models: int
    responses: int
    seconds: float


@dataclass(frozen=True)
class PlanResults(Document):
    """The planned work of a study."""

    model: str
    preset: str
    stages: tuple[StagePlan, ...]
    seconds: float


@dataclass(frozen=True)
class CatalogueEntry:
    """A method or replacement: its summary, its options with their defaults, its source and its cost."""

    name: str
    summary: str
    options: Mapping[str, Any]
    source: str
    cost: str


@dataclass(frozen=True)
class Catalogue(Document):
    """The available methods and replacements."""

    methods: tuple[CatalogueEntry, ...]
    replacements: tuple[CatalogueEntry, ...]


@dataclass(frozen=True)
class StudyResults(Document):
    """Everything that the report of a finished or unfinished study shows."""

    made_by: str
    created: str
    command: str
    preset: str
    seed: int
    config: Mapping[str, Any]
    calibration: str
    model: ModelInfo
    tasks: tuple[TaskScore, ...]
    sweep: tuple[LayerComparison, ...]
    methods: tuple[MethodOrder, ...]
    pruned: tuple[PlanComparison, ...]
    classes: tuple[ClassRetention, ...]
    protocols: tuple[ProtocolScores, ...]
    recovery: tuple[Recovery, ...]
    diagnostics: tuple[DiagnosticMean, ...]
    speed: tuple[Speed, ...]
    samples: tuple[AnsweredItem, ...]
    stages: tuple[Stage, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    answer: str = ""
