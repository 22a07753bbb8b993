"""`rank` and `prune`: choosing layers, and writing a checkpoint without them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from layerlimits.calibration import calibration
from layerlimits.commands import flags
from layerlimits.commands.measure import Opened
from layerlimits.errors import UserError
from layerlimits.evaluate import Evaluator
from layerlimits.methods import Context, described
from layerlimits.models.load import load
from layerlimits.models.locate import check, layer_count, locate
from layerlimits.models.remove import check_count, check_layers, check_protected, layers_for_ratio
from layerlimits.models.save import save_pruned
from layerlimits.paths import check_writable
from layerlimits.plugins import find
from layerlimits.progress import Bar
from layerlimits.tasks import choose
from layerlimits.types import PrunePlan, Ranking


@dataclass(frozen=True)
class Choice:
    """How to choose layers: a method with what it may look at."""

    method: str
    layers: int | None
    protect: str | None
    tasks: str
    items: int
    calibration: Path | None
    seed: int

    @property
    def protected(self) -> tuple[int, ...] | None:
        """The protected layers; None leaves it to the method."""
        return None if self.protect is None else flags.layers(self.protect)


@dataclass(frozen=True)
class Removal:
    """What to remove: so many layers, or a share, chosen by a method; or the listed ones."""

    method: str | None
    layers: int | None
    ratio: float | None
    remove: str | None

    def check(self) -> None:
        """Refuse none or several ways of saying it.

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

    def count(self, depth: int) -> int:
        """How many layers to remove."""
        if self.ratio is not None:
            return layers_for_ratio(self.ratio, depth)
        return self.layers if self.layers is not None else 0


def rank(opened: Opened, choice: Choice) -> dict[str, Any]:
    """A method's ranking: {"model", "method", "scores": [one a layer], "order": [layers, first to remove first]}."""
    method = find("methods", choice.method)
    with opened.evaluator() as evaluator:
        depth = evaluator.loaded.depth
        rounds = max(1, round(depth / 4)) if choice.layers is None else choice.layers
        ranking = ranked(evaluator, choice, rounds)
        return {
            "model": opened.model,
            "method": ranking.method,
            "scores": list(ranking.scores),
            "order": list(ranking.order),
            "layers": depth,
            "protected": [layer for layer, score in enumerate(ranking.scores) if score is None],
            "items": len(ranking.used),
            "source": described(method, "Source"),
        }


def ranked(evaluator: Evaluator, choice: Choice, rounds: int) -> Ranking:
    """The ranking of a method, with at least `rounds` layers in its order.

    Raises:
        UserError: more layers than may go, or an unknown method.
    """
    depth = evaluator.loaded.depth
    check_protected(choice.protected or (), depth)
    check_count(rounds, depth, choice.protected or ())
    method = find("methods", choice.method)
    tasks = tuple(choose(flags.words(choice.tasks)))
    text = calibration(evaluator.loaded.tokenizer, choice.items, choice.calibration)
    # An upper bound for greedy methods; others finish at once and the bar with them.
    total = (rounds * depth + 1) * choice.items * len(tasks)
    with Bar(total) as bar, bar.stage(f"ranking by {choice.method}"):
        context = Context(
            evaluator=evaluator,
            rounds=rounds,
            calibration=text,
            tasks=tasks,
            items=choice.items,
            protected=choice.protected,
            seed=choice.seed,
            tick=bar.advance,
        )
        ranking: Ranking = method(context)
        return ranking


def prune(opened: Opened, removal: Removal, choice: Choice, out: Path, command: str) -> dict[str, Any]:
    """Choose and write: {"model": folder, "base", "removed", "kept", "method"}."""
    removal.check()
    check_writable(out, empty=True)
    listed = None if removal.remove is None else flags.layers(removal.remove)
    _check_early(opened, removal, choice, listed)
    if listed is None:
        find("methods", choice.method)
        with opened.evaluator() as evaluator:
            depth = evaluator.loaded.depth
            plan = _plan(evaluator, choice, removal.count(depth))
            save_pruned(evaluator.loaded, plan, out, command)
    else:
        loaded = load(opened.model, revision=opened.revision, dtype=opened.dtype, device=opened.device)
        removed = check_layers(listed, loaded.depth, choice.protected or ())
        plan = PrunePlan(removed, loaded.depth, "listed", protected=choice.protected or ())
        save_pruned(loaded, plan, out, command)
    return {
        "model": str(out),
        "base": opened.model,
        "method": plan.method,
        "removed": list(plan.removed),
        "kept": list(plan.kept),
        "layers": len(plan.kept),
    }


def _check_early(opened: Opened, removal: Removal, choice: Choice, listed: tuple[int, ...] | None) -> None:
    """What the configuration alone shows to be impossible, before any weight loads."""
    folder = locate(opened.model, opened.revision)
    check(folder)
    depth = layer_count(folder)
    check_protected(choice.protected or (), depth)
    if listed is None:
        check_count(removal.count(depth), depth, choice.protected or ())
    else:
        check_layers(listed, depth, choice.protected or ())


def _plan(evaluator: Evaluator, choice: Choice, count: int) -> PrunePlan:
    ranking = ranked(evaluator, replace(choice, layers=count), count)
    depth = evaluator.loaded.depth
    return PrunePlan(
        check_layers(ranking.order[:count], depth),
        depth,
        ranking.method,
        ranking.scores,
        tuple(layer for layer, score in enumerate(ranking.scores) if score is None),
        ranking.used,
    )


def show_ranking(results: dict[str, Any]) -> None:
    """A table for people."""
    table = Table(title=f"{results['model']}: removal order by {results['method']}")
    for column in ("place", "layer", "score"):
        table.add_column(column, justify="right")
    for place, layer in enumerate(results["order"], 1):
        score = results["scores"][layer]
        table.add_row(str(place), str(layer), "-" if score is None else f"{score:.4g}")
    Console().print(table)


def show_pruned(results: dict[str, Any]) -> None:
    """One line for people."""
    removed = ", ".join(map(str, results["removed"]))
    print(
        f"{results['model']}: {results['layers']} layers, without {removed} of {results['base']} ({results['method']})"
    )
