"""`prune`: writing a checkpoint without some layers, the gap filled or not."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from layerlimits.api.opening import calibration_text, check_choosing, check_removal, checked_folder, open_evaluator
from layerlimits.api.options import ModelOptions, PruneOptions, RankOptions
from layerlimits.api.ranking import ranking
from layerlimits.evaluation.calibration import Calibration
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.methods import finite
from layerlimits.models.load import Loaded
from layerlimits.models.locate import configuration, fingerprint, layer_count, weight_files
from layerlimits.models.remove import check_layers, layers_for_ratio, remove
from layerlimits.models.save import recipe, save_pruned, write_checkpoint
from layerlimits.models.structure_check import check_structure
from layerlimits.paths import check_new_folder
from layerlimits.plugins import find, label
from layerlimits.progress import Bar
from layerlimits.replacements import ReplacementContext
from layerlimits.results.document import PruneResults
from layerlimits.types import ModelRef, PrunePlan

NONE = "none"


@dataclass(frozen=True)
class _Target:
    """Where the checkpoint goes, and the command that its recipe names."""

    out: Path
    command: str


def prune(
    model: ModelOptions, out: Path, options: PruneOptions, choice: RankOptions | None = None, command: str = ""
) -> PruneResults:
    """Choose layers and write the checkpoint without them, which stock transformers loads.

    Args:
        out: folder of the checkpoint; must not exist, or be empty.
        choice: what the method may look at; its methods and number of layers are those of `options`.
        command: named in the checkpoint's recipe.
    Raises:
        UserError: a model, folder, method, replacement or layer that cannot be used.
    """
    choice, target = choice or RankOptions(), _Target(out, command)
    replacement = _replacement(options)
    if options.method is not None:
        find("methods", options.method)
    find("replacements", replacement)
    check_new_folder(out)
    folder = checked_folder(model)
    plan = _listed(folder, options, choice)
    choice = replace(choice, layers=None if plan else _count(options, layer_count(folder)))
    check_removal(choice, folder)
    if plan and replacement == NONE:
        # Hashing a large checkpoint takes as long as copying it, and can go on beside it.
        with ThreadPoolExecutor(1) as aside:
            hashed = aside.submit(fingerprint, folder)
            _write(folder, lambda: ModelRef(model.model, hashed.result(), model.revision), plan, target)
    else:
        check_choosing(choice)
        with open_evaluator(model) as evaluator:
            text = calibration_text(choice, evaluator)
            plan = plan or _chosen(evaluator, options.method or "", choice, text)
            _finish(evaluator.loaded, plan, replacement, _Material(text, choice.seed), target)
    return PruneResults(
        model=str(out),
        base=model.model,
        method=plan.method,
        replacement=label(replacement),
        removed=plan.removed,
        kept=plan.kept_layers,
        layers=len(plan.kept_layers),
    )


@dataclass(frozen=True)
class _Material:
    """What a replacement may look at."""

    text: Calibration
    seed: int


def _replacement(options: PruneOptions) -> str:
    """What fills the gap; a method that merges layers (laco) is a replacement of the same name too."""
    if options.replacement is not None:
        return options.replacement
    return "laco" if options.method is not None and label(options.method).split(":")[0] == "laco" else NONE


def _count(options: PruneOptions, depth: int) -> int:
    """How many layers to remove."""
    if options.ratio is not None:
        return layers_for_ratio(options.ratio, depth)
    return options.layers or 0


def _listed(folder: Path, options: PruneOptions, choice: RankOptions) -> PrunePlan | None:
    """The plan of the listed layers, checked before anything loads."""
    if options.remove is None:
        return None
    depth, protected = layer_count(folder), choice.protect or ()
    return PrunePlan(check_layers(options.remove, depth, protected), depth, "listed", protected=protected)


def _chosen(evaluator: Evaluator, method: str, choice: RankOptions, text: Calibration) -> PrunePlan:
    assert choice.layers is not None
    with Bar(1.0) as bar, bar.stage(f"ranking by {method}"):
        result = ranking(method, choice, evaluator, text, bar.advance)
    depth = evaluator.loaded.depth
    return PrunePlan(
        check_layers(result.plan(choice.layers), depth),
        depth,
        result.method,
        tuple(finite(score) for score in result.scores),
        result.protected,
        result.used,
        tuple((into, tuple(absorbed)) for into, absorbed in result.detail.get("merges", ())),
    )


def _finish(loaded: Loaded, plan: PrunePlan, replacement: str, material: _Material, target: _Target) -> None:
    """Fill the gap of the loaded model and save it; with nothing to fill, its files are copied instead."""
    loaded.check_removal_changes_logits(plan.removed)
    if replacement == NONE:
        _write(loaded.folder, loaded.ref, plan, target)
        return
    check_structure(configuration(loaded.folder), plan.removed)
    text = material.text
    with Bar(1.0) as bar, bar.stage(f"filling the gap by {replacement}"):
        context = ReplacementContext(loaded.model, plan.removed, text.ids, plan.merges, material.seed, bar.advance)
        detail = find("replacements", replacement)(context)
    used = tuple(dict.fromkeys((*plan.calibration, *text.hashes)))
    done = replace(plan, replacement=label(replacement), filling=detail, calibration=used)
    remove(loaded.model, plan.removed)
    write_checkpoint(loaded.model, loaded.folder, target.out, recipe(loaded.ref, done, target.command))


def _write(folder: Path, ref: ModelRef | Callable[[], ModelRef], plan: PrunePlan, target: _Target) -> None:
    size = sum(file.stat().st_size for file in weight_files(folder))
    with Bar(float(size)) as bar, bar.stage("writing"):
        save_pruned(folder, ref, plan, target.out, target.command, bar.advance)
