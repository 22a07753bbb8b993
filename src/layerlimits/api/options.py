"""Options shared by the functions of the API, validated on construction."""

from dataclasses import dataclass
from pathlib import Path

from layerlimits.chat_options import PLAIN, ChatOptions
from layerlimits.errors import UserError, unknown
from layerlimits.paths import DATA_DIR, given_path
from layerlimits.sampling import GREEDY, Decoding, check_items, check_seed
from layerlimits.types import AskFormat, Task


@dataclass(frozen=True)
class DefaultTasks:
    """The default tasks of a model, with settings of their prompts (see `get_tasks`).

    Args:
        protocols: Evaluate each task under each of these protocols; if empty, under its own.
        shots: Number of few-shot examples in each prompt; the task's own if None.
        chat: Whether to format prompts with the model's chat template; the task's own setting if None.

    Example:
        >>> DefaultTasks(shots=2)
    """

    protocols: tuple[AskFormat, ...] = ()
    shots: int | None = None
    chat: bool | None = None


# Engines that evaluate a model given by its folder.
ENGINES = ("sweep", "hflm", "transformers")

# Names of tasks and suites, tasks returned by `get_tasks`, or both; a single one need not be in a list.
Tasks = str | Task | DefaultTasks | list[str] | list[Task] | list[str | Task] | tuple[str | Task, ...]


@dataclass(frozen=True)
class ModelOptions:
    """A model and how to load it; accepted wherever a model is. The model is loaded when it is needed.

    Args:
        model: Folder, hub id, or "reference".
        revision: Branch, tag or commit on the hub.
        dtype: "float32", "bfloat16", "float16", or "auto": the checkpoint's own type on a GPU, and on a CPU if it is at
            least 1.2 times as fast as float32 there; in an existing run folder, the type of the run.
        device: "cpu", "cuda", "cuda:1", or "auto": a GPU if available.

    Example:
        >>> ModelOptions("reference", device="cpu")
    """

    model: str
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"


@dataclass(frozen=True)
class EvalOptions:
    """Options of `evaluate` and `sweep`. Prompt formats are a property of the tasks (see `get_tasks`).

    Args:
        limit: Maximum number of items per task.
        data_dir: Folder with benchmark files; downloads from the hub if None.
        decoding: Decoding of generated answers. Its seed also seeds custom tasks and methods.
        unsafe: Run model-written programs without a sandbox, with your permissions.
        difference: Difference in accuracy to detect, in (0, 0.5]. A warning is given for each task with too few items.
        whole: Evaluate on the full test set in file order, as for published scores. This includes the items reserved
            for selection.
        batch_size: Prompts per batch. It is fixed for a run folder, because it affects rounding.
        max_rows: Maximum number of responses generated at once, over all variants; the engine's default if None.
        engine: "sweep", which computes what prompts and variants share once; "hflm", whose log-likelihoods equal those
            of the `lm_eval` command to the last digit, for `evaluate` only; or "transformers", one variant at a time
            with stock generation.
        template: System turn and arguments of the model's chat template.

    Raises:
        UserError: A value is outside its range, the engine is unknown, or a path is invalid.

    Example:
        >>> EvalOptions(limit=20, decoding=Decoding(temperature=0.7, samples=4))
    """

    limit: int = 100
    data_dir: Path | None = None
    decoding: Decoding = GREEDY
    unsafe: bool = False
    difference: float = 0.05
    whole: bool = False
    batch_size: int = 64
    max_rows: int | None = None
    engine: str = "sweep"
    template: ChatOptions = PLAIN

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise unknown("engine", self.engine, ENGINES)
        check_items(self.limit, "limit")
        object.__setattr__(self, "data_dir", _path(self.data_dir, DATA_DIR))
        _check_batches(self.batch_size, self.max_rows)
        if not 0 < self.difference <= 0.5:
            raise UserError(
                f"difference {self.difference:g} is not in (0, 0.5]", "set it to a fraction, such as 0.05 for 5 points"
            )


@dataclass(frozen=True)
class RankOptions:
    """Options for methods that rank layers.

    Args:
        layers: Number of layers to remove; the method's default if None.
        protect: Layers that are never removed; the method's default if None.
        tasks: Names of the tasks whose selection items score the candidates. If None: word_problems, functions and
            summaries for the bundled model and its relatives; for other models the generation tasks of the suite "real"
            that can be read, or its choice tasks if there are none.
        items: Number of selection items per task, or of calibration texts.
        calibration: File or dataset with calibration text (see `calibration`). If None: text of the bundled tasks for
            the bundled model and its relatives; for other models WikiText-2, or items of tasks that are not evaluated.
        seed: Random seed.
        data_dir: Folder with benchmark files; downloads from the hub if None.
        batch_size, max_rows, template: As for `EvalOptions`.

    Raises:
        UserError: A value is outside its range, or a path is invalid.

    Example:
        >>> RankOptions(layers=3, protect=(0,), items=64)
    """

    layers: int | None = None
    protect: tuple[int, ...] | None = None
    tasks: tuple[str, ...] | None = None
    items: int = 32
    calibration: str | None = None
    seed: int = 0
    data_dir: Path | None = None
    batch_size: int = 64
    max_rows: int | None = None
    template: ChatOptions = PLAIN

    def __post_init__(self) -> None:
        check_items(self.items)
        check_seed(self.seed)
        object.__setattr__(self, "data_dir", _path(self.data_dir, DATA_DIR))
        _path(self.calibration, "the calibration file (--calibration)")
        _check_batches(self.batch_size, self.max_rows)


@dataclass(frozen=True)
class PruneOptions:
    """Layers to remove: a number or a fraction of layers selected by a method, or a list.

    Args:
        method: Method that selects the layers; not allowed with `remove`.
        layers: Number of layers to remove.
        ratio: Fraction of the layers to remove. Exactly one of `layers`, `ratio` and `remove` is required.
        remove: Indices of the layers to remove.
        replacement: Replacement for the removed layers. If None: "laco" for the method of the same name, else "none".
        keep_vision: Write all parts of a multimodal checkpoint; if False, the text model as a checkpoint of its own.

    Raises:
        UserError: Not exactly one of `layers`, `ratio` and `remove` is given, `layers` or `ratio` is given without a
            method, or `remove` with one.

    Example:
        >>> PruneOptions(method="block_influence", ratio=0.25, replacement="linear")
    """

    method: str | None = None
    layers: int | None = None
    ratio: float | None = None
    remove: tuple[int, ...] | None = None
    replacement: str | None = None
    keep_vision: bool = False

    def __post_init__(self) -> None:
        values = {"layers": self.layers, "ratio": self.ratio, "remove": self.remove}
        given = [name for name, value in values.items() if value is not None]
        if len(given) != 1:
            raise UserError(
                f"exactly one of layers, ratio and remove is required, got {len(given)}",
                "set one of them (--layers, --ratio or --remove)",
            )
        if self.remove is None and self.method is None:
            raise UserError(
                f"{given[0]} requires a method", "set method (--method), or list the layers with remove (--remove)"
            )
        if self.remove is not None and self.method is not None:
            raise UserError("remove and method are mutually exclusive", "omit one of them")


def _path(path: str | Path | None, option: str) -> Path | None:
    return None if path is None else given_path(path, option)


def _check_batches(batch_size: int, max_rows: int | None) -> None:
    for name, value in (("batch_size", batch_size), ("max_rows", max_rows)):
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}", f"set {name} to 1 or more")
