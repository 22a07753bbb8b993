"""Settings that functions of the API share, each validated when it is made."""

from dataclasses import dataclass
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.paths import given_path
from layerlimits.sampling import GREEDY, Decoding, check_items, check_seed
from layerlimits.types import Task

# Names of tasks and suites, tasks of `get_tasks`, or a mixture of both; a single name needs no list.
Tasks = str | Task | list[str] | list[Task] | list[str | Task] | tuple[str | Task, ...]


@dataclass(frozen=True)
class ModelOptions:
    """Which model to load and how. Accepted wherever a model is; nothing is loaded before it is needed.

    Args:
        model: a folder, a hub id, or "reference".
        revision: branch, tag or commit of a hub id.
        dtype: "float32", "bfloat16", "float16", or "auto": float32 on a CPU, the checkpoint's own type on a GPU.
        device: "cpu", "cuda", "cuda:1", or "auto": a GPU if there is one.

    Example:
        >>> ModelOptions("reference", device="cpu")
    """

    model: str
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"


@dataclass(frozen=True)
class EvalOptions:
    """How `evaluate` and `sweep` ask a model. How items are phrased is a property of each task (see `get_tasks`).

    Args:
        limit: items per task.
        data_dir: folder of benchmark files; the hub if None.
        decoding: how generated answers are decoded; its seed also seeds tasks and methods of your own.
        unsafe: run model-written programs without a sandbox.
        difference: smallest difference in accuracy of interest, in (0, 0.5]; a warning says where n is too small to
            detect it.
        whole: use a benchmark's whole test set in the order of its file, as published scores do, including the items
            that other functions use to choose layers.
        batch_size: prompts per batch; fixed within a run folder, because rounding depends on it.
        max_rows: largest number of responses in progress at a time, over all variants; the engine's own bound if None.
    Raises:
        UserError: a value outside its range, or an invalid path.

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

    def __post_init__(self) -> None:
        check_items(self.limit, "limit")
        object.__setattr__(self, "data_dir", _path(self.data_dir, "--data-dir"))
        _check_batches(self.batch_size, self.max_rows)
        if not 0 < self.difference <= 0.5:
            raise UserError(f"a difference of {self.difference:g} is not in 0..0.5", "write five points as 0.05")


@dataclass(frozen=True)
class RankOptions:
    """How methods choose layers.

    Args:
        layers: how many layers are to be removed; None leaves it to the method.
        protect: layers never to remove; None leaves it to the method.
        tasks: names of the tasks whose select items score candidates.
        items: select items per task, or calibration texts.
        calibration: a file or a data set (see `calibration`); the bundled world if None.
        seed: of methods that draw at random.
        data_dir: folder of benchmark files; the hub if None.
        batch_size, max_rows: as for `EvalOptions`.
    Raises:
        UserError: a value outside its range, or an invalid path.

    Example:
        >>> RankOptions(layers=3, protect=(0,), items=64)
    """

    layers: int | None = None
    protect: tuple[int, ...] | None = None
    tasks: tuple[str, ...] = ("word_problems", "functions", "summaries")
    items: int = 32
    calibration: str | None = None
    seed: int = 0
    data_dir: Path | None = None
    batch_size: int = 64
    max_rows: int | None = None

    def __post_init__(self) -> None:
        check_items(self.items)
        check_seed(self.seed)
        object.__setattr__(self, "data_dir", _path(self.data_dir, "--data-dir"))
        _path(self.calibration, "--calibration")
        _check_batches(self.batch_size, self.max_rows)


@dataclass(frozen=True)
class PruneOptions:
    """What to remove: a number of layers or a share of them, chosen by a method; or the listed ones.

    Args:
        method: chooses the layers; None with `remove`.
        layers, ratio, remove: how many, which share, or which; exactly one of them.
        replacement: what fills the gap. If None: "laco" for the method of that name, which merges layers; else "none".
    Raises:
        UserError: none or several of the three, a number without a method, or a method together with `remove`.

    Example:
        >>> PruneOptions(method="block_influence", ratio=0.25, replacement="linear")
    """

    method: str | None = None
    layers: int | None = None
    ratio: float | None = None
    remove: tuple[int, ...] | None = None
    replacement: str | None = None

    def __post_init__(self) -> None:
        values = {"--layers": self.layers, "--ratio": self.ratio, "--remove": self.remove}
        given = [name for name, value in values.items() if value is not None]
        if len(given) != 1:
            raise UserError(f"{len(given)} of --layers, --ratio, --remove are given", "give exactly one of them")
        if self.remove is None and self.method is None:
            raise UserError(f"{given[0]} needs a method that chooses the layers", "add --method, or use --remove")
        if self.remove is not None and self.method is not None:
            raise UserError("--remove and --method are mutually exclusive", "leave one of them out")


def _path(path: str | Path | None, option: str) -> Path | None:
    return None if path is None else given_path(path, option)


def _check_batches(batch_size: int, max_rows: int | None) -> None:
    for name, value in (("batch_size", batch_size), ("max_rows", max_rows)):
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}", f"set {name} to 1 or more")
