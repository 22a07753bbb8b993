"""`rank`: the order in which one method, several or all would remove layers, and how far they agree."""

import math
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from layerlimits import stats
from layerlimits.commands.choice import Choice
from layerlimits.commands.flags import words
from layerlimits.commands.opened import Opened
from layerlimits.errors import UserError
from layerlimits.evaluate import Evaluator
from layerlimits.methods import finite
from layerlimits.models.locate import check_complete, layer_count, locate
from layerlimits.plugins import described, find, label, names
from layerlimits.progress import Bar
from layerlimits.types import Ranking

ALL = "all"


def rank(opened: Opened, choice: Choice) -> dict[str, Any]:
    """One method's ranking, or several side by side.

    Returns:
        Of one method {"model", "method", "scores": [one a layer, None where it has none or an infinite one],
        "infinite": [layers], "order": [layers, first to remove first], ...};
        of several {"model", "layers", "n", "rankings": {method: ...}, "failed": {method: why}, "kendall_tau",
        "overlap": {method: {other: figure}}}.
    Raises:
        UserError: see `methods.rank`.
    """
    chosen = names("methods") if choice.method == ALL else list(dict.fromkeys(words(choice.method)))
    for method in chosen:
        find("methods", method)
    depth = layer_count(_checked(opened))
    choice.check(depth)
    if choice.method != ALL and len(chosen) == 1:
        return _one(opened, replace(choice, method=chosen[0]))
    return _several(opened, choice, chosen, depth)


def _checked(opened: Opened) -> Any:
    folder = locate(opened.model, opened.revision)
    check_complete(folder)
    return folder


def _one(opened: Opened, choice: Choice) -> dict[str, Any]:
    with opened.evaluator() as evaluator:
        text = choice.text(evaluator)
        with Bar(1.0) as bar, bar.stage(f"ranking by {choice.method}"):
            ranking = choice.ranking(choice.method, evaluator, text, bar.advance)
        return {"model": opened.model, **_told(ranking, choice.method, evaluator)}


def _told(ranking: Ranking, spec: str, evaluator: Evaluator) -> dict[str, Any]:
    return {
        "method": ranking.method,
        "scores": [finite(score) for score in ranking.scores],
        # JSON has no infinity: these have no score above, and go last.
        "infinite": [layer for layer, score in enumerate(ranking.scores) if score is not None and math.isinf(score)],
        "order": list(ranking.order),
        "largest_first": ranking.largest_first,
        "layers": evaluator.loaded.depth,
        "protected": list(ranking.protected),
        "items": len(ranking.used),
        "used": list(ranking.used),
        "source": described(find("methods", spec), "Source"),
    }


def _several(opened: Opened, choice: Choice, chosen: list[str], depth: int) -> dict[str, Any]:
    """Methods that cannot rank this model are told with the reason; the others stand."""
    # Agreement is counted over one number of layers, which block methods need anyway.
    count = max(1, round(depth / 4)) if choice.layers is None else choice.layers
    counted = replace(choice, layers=count)
    rankings: dict[str, Ranking] = {}
    told: dict[str, Any] = {}
    failed: dict[str, str] = {}
    with opened.evaluator() as evaluator, Bar(float(len(chosen))) as bar:
        text = choice.text(evaluator)
        for done, spec in enumerate(chosen, 1):
            with bar.stage(f"ranking by {spec}"):
                try:
                    ranking = counted.ranking(spec, evaluator, text, bar.advance)
                except UserError as error:
                    failed[label(spec)] = error.problem
                    continue
                finally:
                    bar.reach(done)
            rankings[ranking.method], told[ranking.method] = ranking, _told(ranking, spec, evaluator)
    if not rankings:
        raise UserError(f"no method can rank {opened.model}: " + "; ".join(failed.values()), "see each method's reason")
    return {
        "model": opened.model,
        "layers": depth,
        "n": count,
        "rankings": told,
        "failed": failed,
        "kendall_tau": _pairs(rankings, _tau),
        "overlap": _pairs(rankings, lambda one, other: _overlap(one, other, count)),
    }


def _pairs(rankings: dict[str, Ranking], compare: Any) -> dict[str, dict[str, float | None]]:
    return {
        one: {other: compare(rankings[one], rankings[other]) for other in rankings if other != one} for one in rankings
    }


def _tau(one: Ranking, other: Ranking) -> float | None:
    """Kendall's tau-b of the scores of the layers that both score, turned so that small scores go first."""
    signs = [-1 if ranking.largest_first else 1 for ranking in (one, other)]
    both = [
        (signs[0] * left, signs[1] * right)
        for left, right in zip(one.scores, other.scores, strict=True)
        if left is not None and right is not None
    ]
    return stats.kendall_tau([left for left, _ in both], [right for _, right in both])


def _overlap(one: Ranking, other: Ranking, count: int) -> float:
    """The share of the first `count` layers that both remove."""
    return len(set(one.plan(count)) & set(other.plan(count))) / count


def show(results: dict[str, Any]) -> None:
    """Tables for people."""
    if "rankings" in results:
        _show_several(results)
    else:
        _show_one(results)


def _show_one(results: dict[str, Any]) -> None:
    table = Table(title=f"{results['model']}: removal order by {results['method']}")
    for column in ("place", "layer", "score"):
        table.add_column(column, justify="right")
    for place, layer in enumerate(results["order"], 1):
        score = results["scores"][layer]
        missing = "inf" if layer in results["infinite"] else "-"
        table.add_row(str(place), str(layer), missing if score is None else f"{score:.4g}")
    Console().print(table)


def _show_several(results: dict[str, Any]) -> None:
    count, console = results["n"], Console()
    table = Table(title=f"{results['model']}: {count} of {results['layers']} layers to remove, first to remove first")
    table.add_column("method")
    table.add_column("order")
    table.add_column("layers the others remove too", justify="right")
    for method, ranking in results["rankings"].items():
        shared = results["overlap"][method].values()
        mean = f"{sum(shared) / len(shared):.0%}" if shared else "-"
        table.add_row(method, ", ".join(map(str, ranking["order"])), mean)
    console.print(table)
    console.print(_square(results, "kendall_tau", "Kendall's tau of the scores", "{:.2f}"))
    console.print(_square(results, "overlap", f"Overlap of the first {count} layers", "{:.0%}"))
    for method, why in results["failed"].items():
        console.print(f"{method} cannot rank this model: {why}", highlight=False)


def _square(results: dict[str, Any], what: str, title: str, form: str) -> Table:
    """Methods against methods; columns are numbered, since names would not fit beside each other."""
    methods = list(results["rankings"])
    table = Table(title=title)
    table.add_column("")
    for number in range(1, len(methods) + 1):
        table.add_column(str(number), justify="right")
    for number, one in enumerate(methods, 1):
        row = [results[what][one].get(other) for other in methods]
        table.add_row(f"{number} {one}", *("" if figure is None else form.format(figure) for figure in row))
    return table
