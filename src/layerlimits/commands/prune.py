"""`prune`: writing a checkpoint without some layers, the gap filled or not."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from layerlimits.calibration import Calibration
from layerlimits.commands import flags
from layerlimits.commands.choice import Choice
from layerlimits.commands.opened import Opened
from layerlimits.errors import UserError
from layerlimits.evaluate import Evaluator
from layerlimits.methods import finite
from layerlimits.models.load import Loaded
from layerlimits.models.locate import check_complete, configuration, fingerprint, layer_count, locate, weight_files
from layerlimits.models.remove import check_layers, layers_for_ratio, remove
from layerlimits.models.save import recipe, save_pruned, write_checkpoint
from layerlimits.models.sound import check_sound
from layerlimits.paths import check_writable
from layerlimits.plugins import find, label
from layerlimits.progress import Bar
from layerlimits.replacements import Filling
from layerlimits.types import ModelRef, PrunePlan

NONE = "none"


@dataclass(frozen=True)
class Removal:
    """What to remove: so many layers, or a share, chosen by a method; or the listed ones. And what fills the gap."""

    method: str | None
    layers: int | None
    ratio: float | None
    remove: str | None
    replacement: str | None = None

    def check(self) -> None:
        """Refuse none or several ways of saying it, and what does not exist.

        Raises:
            UserError: with the options given.
        """
        given = {"--layers": self.layers, "--ratio": self.ratio, "--remove": self.remove}
        ways = [name for name, value in given.items() if value is not None]
        if len(ways) != 1:
            raise UserError(f"{len(ways)} of --layers, --ratio, --remove are given", "give exactly one of them")
        if self.remove is None and self.method is None:
            raise UserError(f"{ways[0]} needs a method that chooses the layers", "add --method, or use --remove")
        if self.remove is not None and self.method is not None:
            raise UserError("--remove lists the layers, so --method has no say", "leave one of them out")
        if self.method is not None:
            find("methods", self.method)
        find("replacements", self.filler)

    @property
    def filler(self) -> str:
        """The replacement; a method that merges layers (laco) is a replacement of the same name too."""
        if self.replacement is not None:
            return self.replacement
        return "laco" if self.method is not None and label(self.method).split(":")[0] == "laco" else NONE

    def count(self, depth: int) -> int:
        """How many layers to remove."""
        if self.ratio is not None:
            return layers_for_ratio(self.ratio, depth)
        return self.layers if self.layers is not None else 0


def prune(opened: Opened, removal: Removal, choice: Choice, out: Path, command: str) -> dict[str, Any]:
    """Choose and write: {"model": folder, "base", "method", "replacement", "removed", "kept", "layers"}."""
    removal.check()
    check_writable(out, empty=True)
    folder = locate(opened.model, opened.revision)
    check_complete(folder)
    plan = _listed(folder, removal, choice)
    choice = choice if plan else replace(choice, layers=removal.count(layer_count(folder)))
    choice.check(layer_count(folder))
    if plan and removal.filler == NONE:
        # Hashing a large checkpoint takes as long as copying it, and can go on beside it.
        with ThreadPoolExecutor(1) as aside:
            hashed = aside.submit(fingerprint, folder)
            _write(folder, lambda: ModelRef(opened.model, hashed.result(), opened.revision), plan, out, command)
    else:
        with opened.evaluator() as evaluator:
            text = choice.text(evaluator)
            plan = plan or _chosen(evaluator, choice, text)
            _finish(evaluator.loaded, plan, removal.filler, text, choice.seed, out, command)
    return {
        "model": str(out),
        "base": opened.model,
        "method": plan.method,
        "replacement": label(removal.filler),
        "removed": list(plan.removed),
        "kept": list(plan.kept),
        "layers": len(plan.kept),
    }


def _listed(folder: Path, removal: Removal, choice: Choice) -> PrunePlan | None:
    """The plan of --remove, checked before anything loads."""
    if removal.remove is None:
        return None
    depth, protected = layer_count(folder), choice.protected or ()
    removed = check_layers(flags.layers(removal.remove), depth, protected)
    return PrunePlan(removed, depth, "listed", protected=protected)


def _chosen(evaluator: Evaluator, choice: Choice, text: Calibration) -> PrunePlan:
    assert choice.layers is not None
    with Bar(1.0) as bar, bar.stage(f"ranking by {choice.method}"):
        ranking = choice.ranking(choice.method, evaluator, text, bar.advance)
    depth = evaluator.loaded.depth
    return PrunePlan(
        check_layers(ranking.plan(choice.layers), depth),
        depth,
        ranking.method,
        tuple(finite(score) for score in ranking.scores),
        ranking.protected,
        ranking.used,
        tuple((into, tuple(absorbed)) for into, absorbed in ranking.detail.get("merges", ())),
    )


def _finish(
    loaded: Loaded, plan: PrunePlan, filler: str, text: Calibration, seed: int, out: Path, command: str
) -> None:
    """Fill the gap of the loaded model and save it; with nothing to fill, its files are copied instead."""
    loaded.check_canary(plan.removed)
    if filler == NONE:
        _write(loaded.folder, loaded.ref, plan, out, command)
        return
    check_sound(configuration(loaded.folder), plan.removed)
    with Bar(1.0) as bar, bar.stage(f"filling the gap by {filler}"):
        filling = Filling(loaded.model, plan.removed, text.ids, plan.merges, seed, bar.advance)
        found = find("replacements", filler)(filling)
    used = tuple(dict.fromkeys((*plan.calibration, *text.hashes)))
    done = replace(plan, replacement=label(filler), filling=found, calibration=used)
    remove(loaded.model, plan.removed)
    write_checkpoint(loaded.model, loaded.folder, out, recipe(loaded.ref, done, command))


def _write(folder: Path, ref: ModelRef | Callable[[], ModelRef], plan: PrunePlan, out: Path, command: str) -> None:
    size = sum(file.stat().st_size for file in weight_files(folder))
    with Bar(float(size)) as bar, bar.stage("writing"):
        save_pruned(folder, ref, plan, out, command, bar.advance)


def show(results: dict[str, Any]) -> None:
    """One line for people."""
    removed = ", ".join(map(str, results["removed"]))
    filled = "" if results["replacement"] == NONE else f", gap filled by {results['replacement']}"
    print(
        f"{results['model']}: {results['layers']} layers, without {removed} of {results['base']} "
        f"({results['method']}{filled})"
    )
