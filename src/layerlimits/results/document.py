"""The results of every command as typed documents; docs/results.md documents every key of their JSON form.

Reports, tables, `--json` and Python code read these classes. `to_json` converts them to plain JSON values; an
`Estimate` becomes `{"estimate", "low", "high", "n"}`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from layerlimits.diagnostics import DiagnosedModel, Finding
from layerlimits.models.number_type import ProductRate
from layerlimits.results.alternatives import Alternative
from layerlimits.results.charts import retention_chart
from layerlimits.results.frames import Document, heading, paragraphs, score_columns, value
from layerlimits.results.model import ModelInfo
from layerlimits.results.rows import (
    AnsweredItem,
    ClassRetention,
    LayerComparison,
    LayerScore,
    MethodOrder,
    PlanComparison,
    ProtocolScores,
    Recovery,
    Speed,
    Stage,
    TaskScore,
    plain,
)
from layerlimits.results.verdict import Verdict


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

    def records(self) -> list[dict[str, Any]]:
        """A row per task."""
        return [
            {"task": row.name, **score_columns(row.score), "strict": value(row.strict), "metric": row.metric}
            for row in self.scores
        ]

    @property
    def title(self) -> str:
        """The heading in a notebook."""
        return f"{self.model}: scores with 95% intervals"

    @property
    def remarks(self) -> Sequence[str]:
        """The warnings."""
        return self.warnings


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

    def records(self) -> list[dict[str, Any]]:
        """A row per layer and task; `retention` is the score divided by the unpruned model's."""
        return [
            {
                "layer": row.comparison.layer,
                "task": row.score.name,
                **score_columns(row.comparison.score),
                "retention": value(row.comparison.retention),
            }
            for row in self.sweep
        ]

    def _repr_html_(self) -> str:
        """A chart of retention by layer, with a line per task."""
        compared = [(row.score.name, row.comparison.layer, row.comparison.retention) for row in self.sweep]
        lines = {
            score.name: [(layer, figure) for name, layer, figure in compared if name == score.name and figure]
            for score in self.base
        }
        title = heading(f"{self.model}: retention without one layer")
        return f"{title}{retention_chart(self.layers, lines)}{paragraphs(self.warnings)}"


@dataclass(frozen=True)
class PruneResults(Document):
    """A pruned checkpoint: its folder, its base model, its removed and kept layers, and warnings about its use."""

    model: str
    base: str
    method: str
    replacement: str
    removed: tuple[int, ...]
    kept: tuple[int, ...]
    layers: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScoreResults(Document):
    """The score of a file of responses to `n` of the `of` items of a benchmark; `items` has the verdicts."""

    task: str
    version: int
    metric: str
    score: float
    strict: float | None
    n: int
    of: int
    verdicts: Mapping[str, int]
    items: tuple[Mapping[str, Any], ...]

    def records(self) -> list[dict[str, Any]]:
        """A row per item."""
        return [dict(item) for item in self.items]

    @property
    def title(self) -> str:
        """The heading in a notebook."""
        return f"{self.task}: {self.score:.3f} ({self.metric}), n = {self.n} of {self.of}"


@dataclass(frozen=True)
class StagePlan:
    """The planned work of a stage: number of models, number of responses, and estimated seconds."""

    stage: str
    models: int
    responses: int
    seconds: float


@dataclass(frozen=True)
class PlanResults(Document):
    """The planned work of a study, and the number type in which the model would compute.

    `dtype_reason` says why this dtype, and `dtype_rates` has the rates that were measured to choose it.
    """

    model: str
    preset: str
    dtype: str
    dtype_reason: str
    dtype_rates: tuple[ProductRate, ...]
    stages: tuple[StagePlan, ...]
    seconds: float

    def records(self) -> list[dict[str, Any]]:
        """A row per stage."""
        return [dict(vars(stage)) for stage in self.stages]

    @property
    def title(self) -> str:
        """The heading in a notebook."""
        return f"{self.model}, preset {self.preset}: about {self.seconds / 60:.0f} minutes"


@dataclass(frozen=True)
class StudyResults(Document):
    """Everything that the report of a finished or unfinished study shows; `answer` has the sentences of `verdict`."""

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
    models: tuple[DiagnosedModel, ...]
    diagnostics: tuple[Finding, ...]
    speed: tuple[Speed, ...]
    samples: tuple[AnsweredItem, ...]
    stages: tuple[Stage, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    alternatives: tuple[Alternative, ...] = ()
    answer: str = ""
    verdict: Verdict | None = None

    def records(self) -> list[dict[str, Any]]:
        """A row per model and task: the unpruned model first, then each method at each ratio."""
        base = [
            {"method": "unpruned", "ratio": 0.0, "layers": 0, "task": row.name, **score_columns(row.score)}
            for row in self.tasks
        ]
        pruned = [
            {"method": row.method, "ratio": row.ratio, "layers": row.layers, "task": row.task}
            | score_columns(row.score)
            | {"retention": value(row.retention)}
            for row in self.pruned
        ]
        return [{**row, "retention": 1.0 if row["score"] else None} for row in base] + pruned

    @property
    def title(self) -> str:
        """The heading in a notebook."""
        return f"{self.model.title}: scores of pruned models"

    @property
    def remarks(self) -> Sequence[str]:
        """The answer in a paragraph, and the warnings."""
        return [self.answer, *self.warnings] if self.answer else self.warnings
