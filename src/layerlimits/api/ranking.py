"""`rank` and `compare_methods`: the order in which methods remove layers, and the agreement between methods."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from layerlimits import methods as ranking_methods
from layerlimits.api.choosing import SelectionData, selection_data
from layerlimits.api.models import ModelSource, check_removable, depth, settings
from layerlimits.api.opening import ask_options, check_removal, open_evaluator
from layerlimits.api.options import RankOptions
from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.methods import Context, finite
from layerlimits.plugins import described, find, label, names
from layerlimits.progress import Bar
from layerlimits.results.rankings import MethodRanking, RankingsComparison, RankResults
from layerlimits.statistics.intervals import kendall_tau
from layerlimits.types import Ranking

Agreement = TypeVar("Agreement")
_DEFAULT = RankOptions()


def rank(
    model: ModelSource, method: str, options: RankOptions = _DEFAULT, out: str | Path | None = None
) -> RankResults:
    """Rank a model's layers by the order in which a method removes them.

    Args:
        model: Model returned by `load`, a folder, a hub id, "reference", or `ModelOptions`.
        method: Name of a method (see `catalogue`), with options as in "magnitude:p=2", or the path of a Python file.
        options: Options for the method.
        out: Run folder that stores all responses, so that an interrupted call can resume. None stores nothing.

    Returns:
        The score of each layer, and the layers in the order of removal.

    Raises:
        UserError: The method is unknown or cannot rank this model; see `methods.rank`.

    Example:
        >>> results = rank("reference", "block_influence", RankOptions(items=16))
        >>> results.ranking.order[:3]
    """
    layers, data = _checked(model, [method], options)
    with open_evaluator(model, ask_options(options), seed=options.seed, out=out) as evaluator:
        with Bar(1.0) as bar, bar.stage(f"ranking by {method}"):
            result = ranking(method, options, evaluator, data, bar.advance)
        return RankResults(settings(model).model, _row(result, method, layers), evaluator.loaded.remarks)


def compare_methods(
    model: ModelSource,
    methods: Sequence[str] | None = None,
    options: RankOptions = _DEFAULT,
    out: str | Path | None = None,
) -> RankingsComparison:
    """Rank a model's layers by several methods and measure the agreement between the methods.

    Args:
        model, options, out: As for `rank`. If `options.layers` is None, a quarter of the layers is compared.
        methods: Names or files of methods; all methods if None.

    Returns:
        The ranking of each method, Kendall's tau between the scores, the overlap between the first layers that the
        methods remove, and the reason for each method that cannot rank this model.

    Raises:
        UserError: No method is given, a method is unknown, or none can rank this model.

    Example:
        >>> compare_methods("reference", ["reverse", "block_influence"], RankOptions(layers=3)).kendall_tau
    """
    chosen = names("methods") if methods is None else list(dict.fromkeys(methods))
    if not chosen:
        raise UserError("no method given", "give at least one method, or all of them (--method all, methods=None)")
    layers, data = _checked(model, chosen, options)
    # Agreement is measured for a fixed number of layers, which block methods require anyway.
    count = max(1, round(layers / 4)) if options.layers is None else options.layers
    with open_evaluator(model, ask_options(options), seed=options.seed, out=out) as evaluator:
        rankings, failed = _rankings(chosen, replace(options, layers=count), evaluator, data)
        remarks = evaluator.loaded.remarks
    name = settings(model).model
    if not rankings:
        raise UserError(f"no method can rank {name}: " + "; ".join(failed.values()), "choose a method that supports it")
    results = {result.method: result for result in rankings.values()}
    return RankingsComparison(
        model=name,
        layers=layers,
        n=count,
        rankings={result.method: _row(result, spec, layers) for spec, result in rankings.items()},
        failed=failed,
        kendall_tau=_pairs(results, _tau),
        overlap=_pairs(results, lambda first, second: _overlap(first, second, count)),
        warnings=remarks,
    )


def _checked(model: ModelSource, methods: Sequence[str], options: RankOptions) -> tuple[int, SelectionData]:
    """The model's number of layers and what the methods use, after all checks that need no weights."""
    for method in methods:
        find("methods", method)
    layers = depth(model)
    check_removal(options, layers)
    check_removable(model)
    return layers, selection_data(model, options, methods)


def ranking(
    method: str, options: RankOptions, evaluator: Evaluator, data: SelectionData, on_progress: Callable[[float], None]
) -> Ranking:
    """Run a method.

    Raises:
        UserError: The method or an option is unknown, or the method selects fewer layers than requested.
    """
    context = Context(
        evaluator,
        layers=options.layers,
        calibration=data.text,
        tasks=data.tasks,
        items=options.items,
        protected=options.protect,
        seed=options.seed,
        data_dir=options.data_dir,
        on_progress=on_progress,
    )
    return ranking_methods.rank(method, context)


def _row(result: Ranking, spec: str, depth: int) -> MethodRanking:
    return MethodRanking(
        method=result.method,
        scores=tuple(finite(score) for score in result.scores),
        infinite=tuple(layer for layer, score in enumerate(result.scores) if score is not None and math.isinf(score)),
        order=tuple(result.order),
        largest_first=result.largest_first,
        layers=depth,
        protected=tuple(result.protected),
        items=len(result.used),
        used=tuple(result.used),
        source=described(find("methods", spec), "Source"),
    )


def _rankings(
    methods: Sequence[str], options: RankOptions, evaluator: Evaluator, data: SelectionData
) -> tuple[dict[str, Ranking], dict[str, str]]:
    """Rankings by method as given, and error messages of the methods that cannot rank this model."""
    rankings: dict[str, Ranking] = {}
    failed: dict[str, str] = {}
    with Bar(float(len(methods))) as bar:
        for done, method in enumerate(methods, 1):
            with bar.stage(f"ranking by {method}"):
                try:
                    rankings[method] = ranking(method, options, evaluator, data, bar.advance)
                except UserError as error:
                    failed[label(method)] = error.problem
                finally:
                    bar.reach(done)
    return rankings, failed


def _pairs(
    rankings: Mapping[str, Ranking], compare: Callable[[Ranking, Ranking], Agreement]
) -> dict[str, dict[str, Agreement]]:
    return {
        name: {other: compare(rankings[name], rankings[other]) for other in rankings if other != name}
        for name in rankings
    }


def _tau(first: Ranking, second: Ranking) -> float | None:
    """Kendall's tau-b over the layers scored by both methods; signs are flipped so that small scores go first."""
    signs = [-1 if result.largest_first else 1 for result in (first, second)]
    both = [
        (signs[0] * left, signs[1] * right)
        for left, right in zip(first.scores, second.scores, strict=True)
        if left is not None and right is not None
    ]
    return kendall_tau([left for left, _ in both], [right for _, right in both])


def _overlap(first: Ranking, second: Ranking, count: int) -> float:
    """Fraction of the first `count` layers that both methods remove."""
    return len(set(first.plan(count)) & set(second.plan(count))) / count
