"""What methods and replacements use besides the model: selection tasks and calibration text, checked for leaks."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layerlimits.api.models import ModelSource, bound_tokenizer, checked_folder
from layerlimits.api.options import RankOptions
from layerlimits.errors import UserError, printable
from layerlimits.evaluation.calibration import Calibration, calibration, default_calibration, text_tokens
from layerlimits.evaluation.leaks import check_leaks, is_bundled, items_to_compare
from layerlimits.methods import effort, needed_kind
from layerlimits.models.locate import layer_count
from layerlimits.plugins import names
from layerlimits.study.defaults import default_names, default_select_tasks, knows_bundled_world
from layerlimits.tasks import choose
from layerlimits.types import Task

_NO_TEXT = Calibration((), (), "none")


@dataclass(frozen=True)
class SelectionData:
    """What methods and replacements use besides the model.

    Args:
        tasks: Tasks whose selection items score candidates; empty if no method uses them.
        text: The calibration text; empty if nothing uses it.
    """

    tasks: tuple[Task, ...]
    text: Calibration


@dataclass(frozen=True)
class _Uses:
    """Whether methods and replacements use selection tasks and calibration text."""

    tasks: bool
    text: bool


def selection_data(
    model: ModelSource, options: RankOptions, methods: Sequence[str], *, replaced: bool = False
) -> SelectionData:
    """The selection tasks and the calibration text for a model, read before its weights load.

    The defaults depend on the model (see `RankOptions`). Defaults that nothing uses are not read.

    Args:
        model: The model.
        options: The settings.
        methods: Methods that will rank layers.
        replaced: Whether a replacement is computed, which uses the calibration text.

    Raises:
        UserError: Calibration texts or selection items overlap with evaluation items (see `evaluation.leaks`), a task
            is unknown, items or texts cannot be read, or no default benchmark can be read.
    """
    folder = checked_folder(model)
    uses = _uses(methods, layer_count(folder), replaced=replaced)
    evaluated, tasks = _tasks(folder, options, uses)
    text = _text(model, folder, options, evaluated, uses)
    _check_leaks(options, evaluated, tasks, text)
    if text.shortage:
        print(printable(f"note: {text.shortage}"), file=sys.stderr)
    return SelectionData(tasks, text)


def _uses(methods: Sequence[str], depth: int, *, replaced: bool) -> _Uses:
    """What the methods use. A method in a file of the user need not define it, and can use both."""
    own = [method for method in methods if method.partition(":")[0] not in names("methods")]
    return _Uses(
        tasks=bool(own) or any(needed_kind(method) or effort(method, "evaluations", depth, 1) for method in methods),
        text=bool(own) or replaced or any(effort(method, "passes", depth, 1) for method in methods),
    )


def _tasks(folder: Path, options: RankOptions, uses: _Uses) -> tuple[tuple[Task, ...], tuple[Task, ...]]:
    """The tasks whose evaluation items must not be used, and the selection tasks."""
    if options.tasks is not None:
        tasks = tuple(choose(options.tasks))
        return tasks, tasks
    if knows_bundled_world(folder):
        tasks = default_select_tasks(folder, (), options.data_dir)
        return tasks, tasks
    required = uses.tasks or (uses.text and options.calibration is None)
    if not required and options.calibration is None:
        return (), ()
    try:
        evaluated = tuple(choose(default_names(folder, options.data_dir, unsafe=False)[0]))
    except UserError:
        if required:
            raise
        # There are no default tasks that the calibration text could contain.
        return (), ()
    return evaluated, default_select_tasks(folder, evaluated, options.data_dir)


def _text(
    model: ModelSource, folder: Path, options: RankOptions, evaluated: Sequence[Task], uses: _Uses
) -> Calibration:
    """The calibration text, tokenized for the model."""
    bundled = knows_bundled_world(folder)
    if options.calibration is None and not bundled and not uses.text:
        return _NO_TEXT
    tokenizer, longest = bound_tokenizer(model, options.template), text_tokens(folder)
    if options.calibration is not None or bundled:
        return calibration(tokenizer, options.items, options.calibration, longest)
    return default_calibration(tokenizer, options.items, evaluated, options.data_dir, longest)


def _check_leaks(options: RankOptions, evaluated: Sequence[Task], tasks: Sequence[Task], text: Calibration) -> None:
    """Check that layers are not selected by items that are also evaluated.

    The bundled tasks and calibration texts are disjoint by construction, so they need no check.
    """
    if options.calibration is None and all(is_bundled(task) for task in evaluated):
        return
    items = items_to_compare(evaluated, options.data_dir)
    check_leaks("calibration texts", text.written, items)
    selecting = [
        sample.question for task in tasks for sample in task.samples("select", options.items, options.data_dir)
    ]
    check_leaks("selection items", selecting, items)
