"""Opening what the options name: a model over its store of answers, and the items it is asked."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import set_seed

from layerlimits.api.options import EvalOptions, ModelOptions, RankOptions
from layerlimits.errors import UserError
from layerlimits.evaluation.calibration import Calibration, calibration, written_texts
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.leaks import check_leaks, is_bundled, items_to_compare
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.store import Store
from layerlimits.models.load import load
from layerlimits.models.locate import check, layer_count, locate
from layerlimits.models.remove import check_count, check_protected
from layerlimits.study.manifest import check_run_folder, claim
from layerlimits.tasks import check_sandbox, choose
from layerlimits.types import Sample, Task

Items = list[tuple[Task, list[Sample]]]


@contextmanager
def open_evaluator(
    options: ModelOptions, asked: EvalOptions | None = None, engine: str = "sweep"
) -> Iterator[Evaluator]:
    """The loaded model over its store, asked by these options."""
    with tempfile.TemporaryDirectory() as thrown_away:
        folder = options.out or Path(thrown_away)
        check_run_folder(folder)
        set_seed(options.seed)
        loaded = load(options.model, revision=options.revision, dtype=options.dtype, device=options.device)
        with Store(folder) as store:
            claim(store, loaded, options.batch_size)
            how = asked or EvalOptions()
            yield Evaluator(
                loaded,
                store,
                AskOptions(
                    engine=engine,
                    batch_size=options.batch_size,
                    chat=how.chat,
                    decoding=how.decoding,
                    unsafe=how.unsafe,
                    max_rows=options.max_rows,
                ),
            )


def evaluation_items(options: EvalOptions) -> Items:
    """The tasks with their evaluation items.

    Raises:
        UserError: an unknown task or protocol, no items, or no sandbox where one is needed.
    """
    tasks = choose(options.tasks, options.protocols, options.shots, options.chat)
    check_sandbox(tasks, options.unsafe)
    items = [(task, _samples(task, options)) for task in tasks]
    for task, samples in items:
        if not samples:
            raise UserError(f"{task.name} has no item to evaluate", "give a larger file, or leave the task out")
    return items


def _samples(task: Task, options: EvalOptions) -> list[Sample]:
    if not options.whole:
        return task.samples("evaluate", options.limit, options.data_dir)
    if not hasattr(task.samples, "whole"):
        raise UserError(
            f"{task.name} has no whole test set",
            "give benchmarks asked in their own way, such as gsm8k, with --whole",
        )
    samples: list[Sample] = task.samples.whole(options.data_dir)
    return samples[: options.limit]


def checked_folder(options: ModelOptions) -> Path:
    """The folder of a model that can be loaded, before it is.

    Raises:
        UserError: see `models.locate`.
    """
    folder = locate(options.model, options.revision)
    check(folder)
    return folder


def check_removal(options: RankOptions, folder: Path) -> None:
    """Refuse what the number of layers alone shows to be impossible.

    Raises:
        UserError: a protected layer that does not exist, or more layers than may go.
    """
    depth, protected = layer_count(folder), options.protect or ()
    check_protected(protected, depth)
    if options.layers is not None:
        check_count(options.layers, depth, protected)


def check_choosing(options: RankOptions) -> None:
    """Refuse to choose layers by what the same tasks evaluate, before a model loads.

    The bundled tasks and calibration texts are disjoint by construction, so that these alone need no look.

    Raises:
        UserError: see `evaluation.leaks`; or an unknown task, or items that cannot be read.
    """
    tasks = choose(options.tasks)
    bundled = all(is_bundled(task) for task in tasks)
    if bundled and options.calibration is None:
        return
    evaluated = items_to_compare(tasks, options.data_dir)
    if options.calibration is not None:
        check_leaks("calibration texts", written_texts(options.items, options.calibration), evaluated)
    selecting = [
        sample.question for task in tasks for sample in task.samples("select", options.items, options.data_dir)
    ]
    check_leaks("selection items", selecting, evaluated)


def calibration_text(options: RankOptions, evaluator: Evaluator) -> Calibration:
    """The calibration text as the model reads it."""
    return calibration(evaluator.loaded.tokenizer, options.items, options.calibration)
