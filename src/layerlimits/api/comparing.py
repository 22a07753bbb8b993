"""`compare`: two checkpoints of any depth and origin on the same items."""

import gc
from dataclasses import replace
from pathlib import Path

import torch
from transformers import set_seed

from layerlimits.api.measuring import ask, ask_options
from layerlimits.api.models import Model, ModelSource, bound_tokenizer, checked_folder, in_memory, settings
from layerlimits.api.opening import loaded_into, open_folder
from layerlimits.api.options import EvalOptions, Tasks
from layerlimits.api.tasks import Items, evaluation_items
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.prompts import template_hash
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded, parameter_count, weight_bytes
from layerlimits.results.pair import ComparedModel, CompareResults, MeasuredModel, compare_results, vocabulary_hash
from layerlimits.study.manifest import claim

_DEFAULT = EvalOptions()


def compare(
    base: ModelSource,
    other: ModelSource,
    tasks: Tasks | None = None,
    options: EvalOptions = _DEFAULT,
    out: str | Path | None = None,
) -> CompareResults:
    """Compare two checkpoints of any depth, size and origin on the same items, with paired differences and tests.

    The models are loaded one after the other. Each item is asked in the same way of both, with each model's own
    tokenizer and chat template; a warning says where these differ.

    Args:
        base: The first model, in any form that `evaluate` accepts, such as an unpruned model.
        other: The second model, such as a pruned and retrained one. With dtype "auto" it is computed in the dtype of
            the first.
        tasks: As for `evaluate`; by default those of `base`.
        options: As for `evaluate`.
        out: Run folder that stores the responses of both, so that an interrupted call can resume; it belongs to `base`,
            which can be compared with further models there. None stores nothing.

    Returns:
        Scores by task, and differences: the score of `other` minus that of `base`.

    Raises:
        UserError: As for `evaluate`, for either model; both are checked before one is evaluated.

    Example:
        >>> prune("reference", "pruned", PruneOptions(remove=(4, 5)))
        >>> compare("reference", "pruned", ["arithmetic", "facts"], EvalOptions(limit=50)).to_frame()
    """
    items, notes = evaluation_items(tasks, base, options)
    asked = ask_options(options, items)
    for model in (base, other):
        checked_folder(model)
        bound_tokenizer(model, asked.template, asked.chat)
    with open_folder(out) as folder:
        set_seed(options.decoding.seed)
        loaded = loaded_into(folder, base)
        first, remarks = _measured(loaded, folder, items, asked, owner=True), loaded.remarks
        del loaded
        _free_memory()
        loaded = _loaded(other, first.ref.dtype)
        second, remarks = _measured(loaded, folder, items, asked, owner=False), (*remarks, *loaded.remarks)
        with Store(folder) as store:
            decoding = options.decoding.name(0).removesuffix(" #0")
            results = compare_results(store, first, second, decoding, options.difference)
    return replace(results, warnings=(*dict.fromkeys(remarks), *notes, *results.warnings), chat=options.template)


def _loaded(model: ModelSource, dtype: str) -> Loaded:
    """The second model in memory; loads it if necessary, in the dtype of the first unless it has one of its own."""
    if isinstance(model, Model):
        return model.loaded
    given = settings(model)
    return in_memory(given if given.dtype != "auto" else replace(given, dtype=dtype))


def _measured(loaded: Loaded, folder: Path, items: Items, asked: AskOptions, *, owner: bool) -> MeasuredModel:
    """Evaluate a model; the run folder belongs to its owner."""
    with Store(folder) as store:
        if owner:
            claim(store, loaded, asked.batch_size)
        evaluator = Evaluator(loaded, store, asked)
        ask(evaluator, [()], items)
        records = tuple(evaluator.described(task, samples) for task, samples in items)
    return MeasuredModel(_described(loaded), loaded.ref, records)


def _described(loaded: Loaded) -> ComparedModel:
    return ComparedModel(
        name=loaded.ref.path,
        fingerprint=loaded.ref.fingerprint,
        layers=loaded.depth,
        parameters=parameter_count(loaded.model),
        weight_bytes=weight_bytes(loaded.model),
        dtype=loaded.ref.dtype,
        device=str(loaded.model.device),
        vocabulary=vocabulary_hash(loaded.tokenizer.get_vocab()),
        template=template_hash(loaded.tokenizer) if loaded.tokenizer.chat_template else None,
    )


def _free_memory() -> None:
    """Give back the memory of a model that is no longer used, before the next one is loaded."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
