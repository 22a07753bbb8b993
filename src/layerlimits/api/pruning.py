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
from layerlimits.errors import UserError
from layerlimits.evaluation.calibration import Calibration
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.methods import finite
from layerlimits.models.checkpoint import configuration, is_multimodal, source_notes, weight_files, whole_configuration
from layerlimits.models.load import Loaded
from layerlimits.models.locate import fingerprint, layer_count
from layerlimits.models.remove import check_layers, layers_for_ratio, remove
from layerlimits.models.save import recipe, save_pruned, write_as_stored
from layerlimits.models.stored_quantization import method_of
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
    """The output folder, the command recorded in the recipe, and whether all parts of the checkpoint are written."""

    out: Path
    command: str
    keep_vision: bool


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
    target = _Target(Path(out), command, options.keep_vision)
    replacement = _replacement(options)
    if options.method is not None:
        find("methods", options.method)
    find("replacements", replacement)
    check_new_folder(target.out)
    folder, source = checked_folder(model), settings(model)
    _check_parts(folder, options.keep_vision, replacement)
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
        warnings=_warnings(folder, plan, target.keep_vision),
    )


def _check_parts(folder: Path, keep_vision: bool, replacement: str) -> None:
    """Check that a checkpoint has other parts than its text model, if they are to be kept.

    Raises:
        UserError: It has none; or it is quantized, so that only some of its parts would be widened.
    """
    if not keep_vision:
        return
    whole = whole_configuration(folder)
    if not is_multimodal(whole):
        raise UserError(
            f"{folder.name} ({whole.model_type}) is not a multimodal checkpoint, so that it has no other parts to keep",
            "omit --keep-vision",
        )
    method = method_of(getattr(whole, "quantization_config", None))
    if method and replacement != NONE:
        raise UserError(
            f"replacement {label(replacement)} needs the weights of {folder.name} widened from {method}, and its other "
            "parts would stay quantized",
            "omit --keep-vision to write the text model alone, or use --replacement none, which keeps all bytes",
        )


def _warnings(folder: Path, plan: PrunePlan, keep_vision: bool) -> tuple[str, ...]:
    """Notes about the files, and a warning if image features would enter at other layers."""
    notes = source_notes(folder)
    vision = getattr(whole_configuration(folder), "vision_config", None)
    entered = len(getattr(vision, "deepstack_visual_indexes", None) or ())
    moved = [layer for layer in plan.removed if layer < entered]
    if keep_vision and moved:
        notes += (
            f"image features enter after the first {entered} layers, by number; without layer "
            f"{', '.join(map(str, moved))} they enter after other layers",
        )
    return notes


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
    about = recipe(loaded.ref, done, target.command, source_notes(loaded.folder))
    kept_layers = plan.kept_layers if target.keep_vision else None
    write_as_stored(loaded.model, loaded.folder, target.out, about, kept_layers)


def _write(folder: Path, ref: ModelRef | Callable[[], ModelRef], plan: PrunePlan, target: _Target) -> None:
    size = sum(file.stat().st_size for file in weight_files(folder))
    with Bar(float(size)) as bar, bar.stage("writing"):
        save_pruned(folder, ref, plan, target.out, target.command, bar.advance, keep_vision=target.keep_vision)
