"""The JSON values that a run folder stores besides responses: names and types."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NotRequired

# Validation by pydantic requires this one before Python 3.12.
from typing_extensions import TypedDict

from layerlimits.evaluation.store import Store
from layerlimits.types import AskFormat, Kind


class ProductRateRecord(TypedDict):
    """The measured speed of a matrix product; see `models.number_type.ProductRate`."""

    dtype: str
    rows: int
    gflops: float


class Manifest(TypedDict):
    """Which model a run evaluates, and how it was started; for a study also its command and settings.

    `dtype_reason` says why the run has this dtype, and `dtype_rates` has the rates that were measured to choose it.
    `selection` and `training` are hashes of the selection items and of the training prompts.
    """

    made_by: str
    model: str
    base_fingerprint: str
    revision: str | None
    dtype: str
    dtype_reason: NotRequired[str]
    dtype_rates: NotRequired[list[ProductRateRecord]]
    batch_size: int
    chat: NotRequired[bool | None]
    decoding: NotRequired[str]
    command: NotRequired[str]
    config: NotRequired[dict[str, Any]]
    selection: NotRequired[str]
    training: NotRequired[str]


class ModelRecord(TypedDict):
    """The unpruned model; `weight_bytes` is the memory of its parameters in its dtype."""

    name: str
    fingerprint: str
    layers: int
    parameters: int
    weight_bytes: int
    dtype: str
    device: str


class TaskRecord(TypedDict):
    """The prompt settings of a task, and the items that are evaluated.

    `template` is the hash of the chat template, None for plain text. `decodings` has one entry per draw, as in the
    keys of responses. `sets` maps item ids to parts of the benchmark. `prompts` maps item ids to the hashes of their
    prompts. `engine` is the class that computed the answers.

    `counts` has the number of items by stage where a stage measures only the first items; stages that are missing
    measure all. `set_aside` is the reason why a task was measured no further.
    """

    name: str
    version: int
    kind: Kind
    metric: str
    chance: float
    summary: str
    protocol: AskFormat
    shots: int
    template: str | None
    decodings: list[str]
    sets: dict[str, str]
    ids: list[str]
    prompts: dict[str, str]
    engine: str
    counts: NotRequired[dict[str, int]]
    set_aside: NotRequired[str]


class CalibrationRecord(TypedDict):
    """The source of the calibration text, and a hash of each of its items."""

    source: str
    hashes: list[str]


class RankingRecord(TypedDict):
    """A method's order of removal; `used` has the ids of the items that the method used."""

    scores: list[float | None]
    order: list[int]
    used: list[str]
    largest_first: bool
    detail: dict[str, Any]
    source: str
    seconds: float


class Plan(TypedDict):
    """The layers that a method removes at a ratio."""

    method: str
    ratio: float
    layers: int
    removed: list[int]


class RecoveredRecord(Plan):
    """A pruned and finetuned model: its fingerprint, the settings and the amount of training.

    `key` identifies the training: the pruned model, the examples and the settings.
    """

    name: str
    fingerprint: str
    key: NotRequired[str]
    settings: dict[str, Any]
    examples: int
    dropped: int
    trained_tokens: int
    seconds: float


class TimingRecord(TypedDict):
    """Decoding speed of a pruned model, one rate per repetition; see `study.speed`."""

    removed: list[int]
    parameters: int
    weight_bytes: int
    memory_bytes: int
    tokens_per_s: list[float]


# The type of each stored value, by name. Values that are computed once have names with a prefix instead.
TYPES: Mapping[str, Any] = {
    "manifest": Manifest,
    "base": ModelRecord,
    "tasks": list[TaskRecord],
    "calibration": CalibrationRecord,
    "rankings": dict[str, RankingRecord],
    "plans": list[Plan],
    "recovered": dict[str, RecoveredRecord],
    "speed": list[TimingRecord],
    "stages": dict[str, float],
    "study_notes": list[str],
    "skipped": dict[str, str],
    "left_out": list[str],
    "spent": float,
}
CACHED = "once "


class Artifacts:
    """The stored values of a run folder; each is None or empty until a command sets it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def manifest(self) -> Manifest | None:
        """Which model the run evaluates."""
        return self._store.get("manifest")

    @manifest.setter
    def manifest(self, manifest: Manifest) -> None:
        self._store.put("manifest", manifest)

    @property
    def base(self) -> ModelRecord | None:
        """The unpruned model of a study."""
        return self._store.get("base")

    @base.setter
    def base(self, base: ModelRecord) -> None:
        self._store.put("base", base)

    @property
    def tasks(self) -> list[TaskRecord] | None:
        """The tasks of a study."""
        return self._store.get("tasks")

    @tasks.setter
    def tasks(self, tasks: list[TaskRecord]) -> None:
        self._store.put("tasks", tasks)

    @property
    def calibration(self) -> CalibrationRecord | None:
        """The calibration text of a study."""
        return self._store.get("calibration")

    @calibration.setter
    def calibration(self, calibration: CalibrationRecord) -> None:
        self._store.put("calibration", calibration)

    @property
    def rankings(self) -> dict[str, RankingRecord]:
        """The rankings, by method."""
        return self._store.get("rankings") or {}

    @rankings.setter
    def rankings(self, rankings: Mapping[str, RankingRecord]) -> None:
        self._store.put("rankings", rankings)

    @property
    def plans(self) -> list[Plan]:
        """The layers that each method removes at each ratio."""
        return self._store.get("plans") or []

    @plans.setter
    def plans(self, plans: list[Plan]) -> None:
        self._store.put("plans", plans)

    @property
    def recovered(self) -> dict[str, RecoveredRecord]:
        """The finetuned models, by name."""
        return self._store.get("recovered") or {}

    @recovered.setter
    def recovered(self, recovered: Mapping[str, RecoveredRecord]) -> None:
        self._store.put("recovered", recovered)

    @property
    def speed(self) -> list[TimingRecord]:
        """The timed models, the unpruned one first."""
        return self._store.get("speed") or []

    @speed.setter
    def speed(self, timings: list[TimingRecord]) -> None:
        self._store.put("speed", timings)

    @property
    def stages(self) -> dict[str, float]:
        """Seconds per stage, summed over all resumed parts of a study."""
        return self._store.get("stages") or {}

    @stages.setter
    def stages(self, seconds: Mapping[str, float]) -> None:
        self._store.put("stages", seconds)

    @property
    def study_notes(self) -> list[str]:
        """Notes on decisions made at the start of a study."""
        return self._store.get("study_notes") or []

    @study_notes.setter
    def study_notes(self, notes: list[str]) -> None:
        self._store.put("study_notes", notes)

    @property
    def skipped(self) -> dict[str, str]:
        """The skipped parts of a study, with the reasons."""
        return self._store.get("skipped") or {}

    @skipped.setter
    def skipped(self, reasons: Mapping[str, str]) -> None:
        self._store.put("skipped", dict(reasons))

    @property
    def left_out(self) -> list[str]:
        """The parts of a study that its budget leaves out."""
        return self._store.get("left_out") or []

    @left_out.setter
    def left_out(self, parts: Sequence[str]) -> None:
        self._store.put("left_out", list(parts))

    @property
    def spent(self) -> float:
        """Seconds that commands with a budget have used."""
        return self._store.get("spent") or 0.0

    @spent.setter
    def spent(self, seconds: float) -> None:
        self._store.put("spent", seconds)

    def cached(self, key: str, compute: Callable[[], Any]) -> Any:
        """A JSON value that is computed once per run folder. The key must contain everything it depends on."""
        name = f"{CACHED}{key}"
        if self._store.get(name) is None:
            self._store.put(name, compute())
        return self._store.get(name)

    def contents(self) -> Iterator[tuple[str, Any]]:
        """All stored values with their names, ordered by name."""
        for name in self._store.names():
            yield name, self._store.get(name)

    def restore(self, name: str, content: Any) -> None:
        """Store a value of `contents`."""
        self._store.put(name, content)
