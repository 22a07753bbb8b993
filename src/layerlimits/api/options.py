"""The options that functions of the API share, each validated when it is made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from layerlimits.errors import UserError
from layerlimits.paths import given_path
from layerlimits.sampling import GREEDY, Decoding, check_items, check_seed
from layerlimits.types import AskFormat


@dataclass(frozen=True)
class ModelOptions:
    """Which model to load and how.

    Args:
        model: a folder, a hub id, or "reference".
        revision: branch, tag or commit of a hub id.
        dtype: "float32", "bfloat16", "float16", or "auto": float32 on a CPU, else the checkpoint's.
        device: "cpu", "cuda", "cuda:1", or "auto": a GPU if there is one.
        out: run folder that keeps the answers, so that a killed call resumes; else they are not kept.
        batch_size: prompts per batch; part of what a run fixes, since rounding depends on it.
        seed: of whatever a method or task of your own draws; greedy answers do not depend on it.
        max_rows: answers of all variants under way at a time; the engine's own bound if None.
    Raises:
        UserError: a seed outside its range.
    """

    model: str
    revision: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    out: Path | None = None
    batch_size: int = 64
    seed: int = 0
    max_rows: int | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed)


@dataclass(frozen=True)
class EvalOptions:
    """Which items a model is asked, and how.

    Args:
        tasks: names of tasks or suites.
        limit: items per task.
        data_dir: folder of benchmark files; the hub if None.
        protocols: how items are asked; each task's own way if empty.
        shots: examples before every item; the task's own number if None.
        chat: whether prompts go through the model's chat template; None: generation where the model has one.
        decoding: how generated answers are decoded.
        unsafe: run programs that a model wrote without a sandbox.
        difference: in accuracy, that should show; too few items for it are warned of.
        whole: a benchmark's whole test set in the order of its file, as published scores do, also the items that other
            commands choose layers by.
    Raises:
        UserError: a limit or difference outside its range, or a path that cannot be.
    """

    tasks: tuple[str, ...] = ("reference",)
    limit: int = 100
    data_dir: Path | None = None
    protocols: tuple[AskFormat, ...] = ()
    shots: int | None = None
    chat: bool | None = None
    decoding: Decoding = GREEDY
    unsafe: bool = False
    difference: float = 0.05
    whole: bool = False

    def __post_init__(self) -> None:
        check_items(self.limit, "limit")
        _check_path(self.data_dir, "--data-dir")
        if not 0 < self.difference <= 0.5:
            raise UserError(f"a difference of {self.difference:g} is not in 0..0.5", "write five points as 0.05")


@dataclass(frozen=True)
class RankOptions:
    """How methods choose layers.

    Args:
        methods: names, with options as in "magnitude:p=2", or files of methods; ("all",) for every method.
        layers: how many layers are to be removed; None if that is open.
        protect: layers never to remove; None leaves it to the method.
        tasks: whose select items score candidates.
        items: select items per task, or calibration texts.
        calibration: a file or a data set; the bundled world if None.
        seed: of methods that draw.
        data_dir: folder of benchmark files; the hub if None.
    Raises:
        UserError: a number of items or a seed outside its range, or a path that cannot be.
    """

    methods: tuple[str, ...] = ()
    layers: int | None = None
    protect: tuple[int, ...] | None = None
    tasks: tuple[str, ...] = ("word_problems", "functions", "summaries")
    items: int = 32
    calibration: str | None = None
    seed: int = 0
    data_dir: Path | None = None

    def __post_init__(self) -> None:
        check_items(self.items)
        check_seed(self.seed)
        _check_path(self.data_dir, "--data-dir")
        _check_path(self.calibration, "--calibration")


@dataclass(frozen=True)
class PruneOptions:
    """What to remove: a number of layers or a share of them, chosen by a method; or the listed ones.

    Args:
        method: chooses the layers; None with `remove`.
        layers, ratio, remove: how many, which share, or which; exactly one is given.
        replacement: what fills the gap; None: nothing, or the method where it is one that merges layers (laco).
    Raises:
        UserError: none or several of the three, a number without a method, or a method beside `remove`.
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


@dataclass(frozen=True)
class RecoverOptions:
    """How a pruned model is finetuned on the unpruned model's answers.

    Args:
        kind: "full" trains every weight, "lora" adapters.
        tasks: whose training prompts are asked.
        items: how many prompts.
        epochs: how often the answers are read.
        data_dir: folder of benchmark files; the hub if None.
        seed: of the finetuning.
        protocols, shots, chat: how prompts are asked, as for `EvalOptions`: give those that will evaluate.
    Raises:
        UserError: a number of items or a seed outside its range, or a path that cannot be.
    """

    kind: Literal["full", "lora"] = "full"
    tasks: tuple[str, ...] = ("reference",)
    items: int = 1000
    epochs: int = 1
    data_dir: Path | None = None
    seed: int = 0
    protocols: tuple[AskFormat, ...] = ()
    shots: int | None = None
    chat: bool | None = None

    def __post_init__(self) -> None:
        check_items(self.items)
        check_seed(self.seed)
        _check_path(self.data_dir, "--data-dir")


def _check_path(path: str | Path | None, option: str) -> None:
    if path is not None:
        given_path(path, option)
