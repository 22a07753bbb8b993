"""The JSON values that a run folder stores besides responses: names and types."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NotRequired, TypeVar

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
    system: NotRequired[str]
    chat_args: NotRequired[dict[str, Any]]
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

    Of documents, `window` has the length and the stride of the windows in tokens, and `documents` maps item ids to the
    numbers of predicted tokens, of words and of bytes.
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
    window: NotRequired[list[int]]
    documents: NotRequired[dict[str, list[int]]]


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


class MilestoneRecord(TypedDict):
    """A model in training after a number of trained tokens: mean losses in nats, and the values of the selection items
    by task. `train_loss` is the mean since the last milestone; that of the pruned model is of its first batch.
    """

    tokens: int
    train_loss: float
    heldout_loss: float
    scores: dict[str, list[float]]


class RecoveredRecord(Plan):
    """A pruned and finetuned model: its fingerprint, the settings and the amount of training.

    `key` identifies the training: the pruned model, the examples and the settings. `curve` has the milestones of the
    training, `curve_base` the unpruned model's values of the same items, and `best_tokens` the tokens of the milestone
    whose weights were saved; the three are missing without milestones.
    """

    name: str
    fingerprint: str
    key: NotRequired[str]
    settings: dict[str, Any]
    examples: int
    dropped: int
    trained_tokens: int
    seconds: float
    curve: NotRequired[list[MilestoneRecord]]
    curve_base: NotRequired[dict[str, list[float]]]
    best_tokens: NotRequired[int]


class TimingRecord(TypedDict):
    """Decoding speed of a pruned model, one rate per repetition; see `study.speed`.

    Former versions measured no time to the first token, and did not store the number and the lengths of prompts.
    """

    removed: list[int]
    parameters: int
    weight_bytes: int
    memory_bytes: int
    tokens_per_s: list[float]
    first_token_s: NotRequired[list[float]]
    prompts: NotRequired[int]
    prompt_tokens: NotRequired[int]
    new_tokens: NotRequired[int]


class AlternativeRecord(TypedDict):
    """A model measured instead of a pruned one: the unpruned model in fewer bits, or a sibling, whose `bits` is None.

    `key` identifies the measurement. `method` and `removed` are set if layers are removed as well. `tasks` has this
    model's own prompts. The rates are those of interleaved repetitions of this and of the unpruned model.
    """

    name: str
    key: str
    path: str
    bits: int | None
    method: str
    removed: list[int]
    fingerprint: str
    layers: int
    tasks: list[TaskRecord]
    parameters: int
    weight_bytes: int
    memory_bytes: int
    tokens_per_s: list[float]
    base_tokens_per_s: list[float]


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
    "probes": list[TaskRecord],
    "asked": list[TaskRecord],
    "alternatives": list[AlternativeRecord],
    "stages": dict[str, float],
    "study_notes": list[str],
    "skipped": dict[str, str],
    "left_out": list[str],
    "spent": float,
    "finished": dict[str, Any],
    "row_limits": dict[str, int],
    "clock": str,
}
CACHED = "once "


T = TypeVar("T")


class _Value(Generic[T]):
    """An attribute of `Artifacts` that is read from the store and written to it.

    Args:
        empty: Makes the value of a run folder that has none.
    """

    def __init__(self, empty: Callable[[], T]) -> None:
        self._empty = empty

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, artifacts: "Artifacts", owner: type | None = None) -> T:
        value = artifacts._store.get(self._name)
        return self._empty() if value is None else value

    def __set__(self, artifacts: "Artifacts", value: T) -> None:
        artifacts._store.put(self._name, value)


def _none() -> None:
    return None


class Artifacts:
    """The stored values of a run folder; each is None or empty until a command sets it."""

    # Which model the run evaluates.
    manifest: _Value[Manifest | None] = _Value(_none)
    # The unpruned model of a study, its tasks, and its calibration text.
    base: _Value[ModelRecord | None] = _Value(_none)
    tasks: _Value[list[TaskRecord] | None] = _Value(_none)
    calibration: _Value[CalibrationRecord | None] = _Value(_none)
    # The rankings, by method, and the layers that each method removes at each ratio.
    rankings: _Value[dict[str, RankingRecord]] = _Value(dict)
    plans: _Value[list[Plan]] = _Value(list)
    # The finetuned models, by name, and the timed models, the unpruned one first.
    recovered: _Value[dict[str, RecoveredRecord]] = _Value(dict)
    speed: _Value[list[TimingRecord]] = _Value(list)
    # The tasks of `evaluate` and `sweep`, for diagnostics; a study has its own records.
    asked: _Value[list[TaskRecord]] = _Value(list)
    # The probes of diagnostics, recorded like tasks.
    probes: _Value[list[TaskRecord]] = _Value(list)
    # The models that were measured instead of pruned ones.
    alternatives: _Value[list[AlternativeRecord]] = _Value(list)
    # Seconds per stage, summed over all resumed parts of a study.
    stages: _Value[dict[str, float]] = _Value(dict)
    # Notes on decisions made at the start, the skipped parts with the reasons, and what a budget leaves out.
    study_notes: _Value[list[str]] = _Value(list)
    skipped: _Value[dict[str, str]] = _Value(dict)
    left_out: _Value[list[str]] = _Value(list)
    # Seconds that commands with a budget have used.
    spent: _Value[float] = _Value(float)
    # The settings with which the study was last finished; empty if it never was.
    finished: _Value[dict[str, Any]] = _Value(dict)
    # How many rows at a time fit into the memory of each machine on which memory ran out.
    row_limits: _Value[dict[str, int]] = _Value(dict)
    # The date that chat templates are given, as YYYY-MM-DD; empty until a model is evaluated.
    clock: _Value[str] = _Value(str)

    def __init__(self, store: Store) -> None:
        self._store = store

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
