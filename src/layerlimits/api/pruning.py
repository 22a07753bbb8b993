"""`prune`: write a checkpoint without some layers, with or without a replacement for them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from layerlimits.api.choosing import SelectionData, selection_data
from layerlimits.api.models import Model, ModelSource, checked_folder, settings
from layerlimits.api.opening import ask_options, check_removal, open_evaluator
from layerlimits.api.options import PruneOptions, RankOptions
from layerlimits.api.ranking import ranking
from layerlimits.evaluation.calibration import Calibration
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.methods import finite
from layerlimits.models.load import Loaded
from layerlimits.models.locate import configuration, fingerprint, layer_count, weight_files
from layerlimits.models.remove import check_layers, layers_for_ratio, remove
from layerlimits.models.save import recipe, save_pruned, window_warnings, write_as_stored
from layerlimits.models.structure_check import check_structure
from layerlimits.paths import check_new_folder
from layerlimits.plugins import called, find, label
from layerlimits.progress import Bar
from layerlimits.replacements import ReplacementContext
from layerlimits.results.document import PruneResults
from layerlimits.types import ModelRef, PrunePlan

NONE = "none"
_DEFAULT = RankOptions()


@dataclass(frozen=True)
class _Target:
    """The output folder, and the command recorded in the recipe."""

    out: Path
    command: str


def prune(
    model: ModelSource,
    out: str | Path,
    options: PruneOptions,
    rank_options: RankOptions = _DEFAULT,
    *,
    command: str = "",
) -> PruneResults:
    """Remove layers and write a checkpoint that loads in unmodified transformers.

    A model returned by `load` is not changed: a replacement is computed on a copy loaded from the model's files.

    Args:
        model: Model returned by `load`, a folder, a hub id, "reference", or `ModelOptions`.
        out: Output folder for the checkpoint; must not exist, or must be empty.
        options: Layers to remove, or how to select them, and the replacement.
        rank_options: Options for the method. Its `layers` is ignored; `options` has the number of layers.
        command: Command line to record in the checkpoint's recipe.

    Raises:
        UserError: The model, the folder, the method, the replacement or a layer cannot be used.

    Example:
        >>> prune("reference", "pruned", PruneOptions(method="block_influence", layers=3)).removed
        >>> prune("reference", "pruned-2", PruneOptions(remove=(4, 5))).kept
    """
    target = _Target(Path(out), command)
    replacement = _replacement(options)
    if options.method is not None:
        find("methods", options.method)
    find("replacements", replacement)
    check_new_folder(target.out)
    folder, source = checked_folder(model), settings(model)
    plan = _listed(folder, options, rank_options)
    rank_options = replace(rank_options, layers=None if plan else _count(options, layer_count(folder)))
    check_removal(rank_options, layer_count(folder))
    if plan and replacement == NONE:
        # Hashing a large checkpoint takes as long as copying it, so both run at the same time.
        with ThreadPoolExecutor(1) as executor:
            hashed = executor.submit(fingerprint, folder)
            _write(folder, lambda: ModelRef(source.model, hashed.result(), source.revision), plan, target)
    else:
        methods = () if plan or options.method is None else (options.method,)
        data = selection_data(model, rank_options, methods, replaced=replacement != NONE)
        # A replacement changes weights in place, so the caller's model must not be used.
        asked = source if isinstance(model, Model) and replacement != NONE else model
        with open_evaluator(asked, ask_options(rank_options), seed=rank_options.seed) as evaluator:
            plan = plan or _chosen(evaluator, options.method or "", rank_options, data)
            _finish(evaluator.loaded, plan, replacement, _Material(data.text, rank_options.seed), target)
    return PruneResults(
        model=str(out),
        base=source.model,
        method=plan.method,
        replacement=label(replacement),
        removed=plan.removed,
        kept=plan.kept_layers,
        layers=len(plan.kept_layers),
        warnings=window_warnings(configuration(folder), target.out),
    )


@dataclass(frozen=True)
class _Material:
    """Inputs of a replacement."""

    text: Calibration
    seed: int


def _replacement(options: PruneOptions) -> str:
    """The replacement; the default for the method laco, which merges layers, is the replacement of the same name."""
    if options.replacement is not None:
        return options.replacement
    name, *given = label(options.method or "").split(":")
    # It merges in the form in which the method compared.
    return ":".join(["laco", *(option for option in given if option.startswith("form="))]) if name == "laco" else NONE


def _count(options: PruneOptions, depth: int) -> int:
    """Number of layers to remove."""
    if options.ratio is not None:
        return layers_for_ratio(options.ratio, depth)
    return options.layers or 0


def _listed(folder: Path, options: PruneOptions, rank_options: RankOptions) -> PrunePlan | None:
    """The plan for listed layers, checked before the model loads; None if a method selects them."""
    if options.remove is None:
        return None
    depth, protected = layer_count(folder), rank_options.protect or ()
    return PrunePlan(check_layers(options.remove, depth, protected), depth, "listed", protected=protected)


def _chosen(evaluator: Evaluator, method: str, rank_options: RankOptions, data: SelectionData) -> PrunePlan:
    assert rank_options.layers is not None
    with Bar(1.0) as bar, bar.stage(f"ranking by {method}"):
        result = ranking(method, rank_options, evaluator, data, bar.advance)
    depth = evaluator.loaded.depth
    return PrunePlan(
        check_layers(result.plan(rank_options.layers), depth),
        depth,
        result.method,
        tuple(finite(score) for score in result.scores),
        result.protected,
        result.used,
        tuple((into, tuple(absorbed)) for into, absorbed in result.detail.get("merges", ())),
    )


def _finish(loaded: Loaded, plan: PrunePlan, replacement: str, material: _Material, target: _Target) -> None:
    """Apply the replacement to the loaded model and save it; without one, write the checkpoint from its files."""
    loaded.check_removal_changes_logits(plan.removed)
    if replacement == NONE:
        _write(loaded.folder, loaded.ref, plan, target)
        return
    check_structure(configuration(loaded.folder), plan.removed)
    text = material.text
    with Bar(1.0) as bar, bar.stage(f"applying replacement {replacement}"):
        context = ReplacementContext(loaded.model, plan.removed, text.ids, plan.merges, material.seed, bar.advance)
        detail = called(find("replacements", replacement), dict, replacement, context)
    used = tuple(dict.fromkeys((*plan.calibration, *text.hashes)))
    done = replace(plan, replacement=label(replacement), filling=detail, calibration=used)
    remove(loaded.model, plan.removed)
    write_as_stored(loaded.model, loaded.folder, target.out, recipe(loaded.ref, done, target.command))


def _write(folder: Path, ref: ModelRef | Callable[[], ModelRef], plan: PrunePlan, target: _Target) -> None:
    size = sum(file.stat().st_size for file in weight_files(folder))
    with Bar(float(size)) as bar, bar.stage("writing"):
        save_pruned(folder, ref, plan, target.out, target.command, bar.advance)
