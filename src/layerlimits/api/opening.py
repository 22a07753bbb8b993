"""Open an evaluator for a model and its run folder, and check settings before weights load."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from transformers import set_seed

from layerlimits.api.models import Model, ModelSource, bound_tokenizer, settings
from layerlimits.api.options import RankOptions
from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.lock import writing
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded
from layerlimits.models.remove import check_count, check_listed, check_protected
from layerlimits.study.manifest import check_run_folder, claim, load_into


@contextmanager
def open_folder(out: str | Path | None) -> Iterator[Path]:
    """Inside the block, this process alone writes to the run folder; a temporary folder if None.

    Raises:
        UserError: The run folder cannot be used.
    """
    if out is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
        return
    check_run_folder(Path(out))
    with writing(Path(out)):
        yield Path(out)


@contextmanager
def open_evaluator(
    model: ModelSource, options: AskOptions, *, seed: int, out: str | Path | None = None
) -> Iterator[Evaluator]:
    """Load a model and open an evaluator for it.

    Args:
        model: The model.
        options: Settings of the evaluator.
        seed: Random seed.
        out: Run folder that stores the responses; a temporary folder if None.

    Raises:
        UserError: The model or the run folder cannot be used.
    """
    if options.template:
        # Before weights load.
        bound_tokenizer(model, options.template, options.chat)
    with open_folder(out) as folder:
        set_seed(seed)
        loaded = loaded_into(folder, model)
        with Store(folder) as store:
            claim(store, loaded, options.batch_size)
            yield Evaluator(loaded, store, options)


def loaded_into(folder: Path, model: ModelSource) -> Loaded:
    """The model in memory; loads it if necessary, in the number type of the run folder.

    Raises:
        UserError: See `models.load.load`.
    """
    if isinstance(model, Model):
        return model.loaded
    options = settings(model)
    return load_into(folder, options.model, revision=options.revision, dtype=options.dtype, device=options.device)


def ask_options(options: RankOptions) -> AskOptions:
    """The evaluator settings for methods."""
    return AskOptions(batch_size=options.batch_size, max_rows=options.max_rows, template=options.template)


def check_removal(options: RankOptions, depth: int) -> None:
    """Check the protected layers and the number of layers to remove.

    Raises:
        UserError: A protected layer does not exist, or more layers are to be removed than is possible.
    """
    protected = options.protect or ()
    check_protected(protected, depth)
    # Without a number, all layers that are not protected are ranked: at least one.
    check_count(1 if options.layers is None else options.layers, depth, protected)


def check_swept(layers: Sequence[int], depth: int) -> tuple[int, ...]:
    """Check the layers that a sweep skips, and return them ascending.

    Raises:
        UserError: no layer, a layer twice, or one that does not exist.
    """
    if len(layers) == 0:
        raise UserError("no layer to skip is given", "give layers such as 3,8-12, or omit --layers to skip each")
    return check_listed(layers, depth)
