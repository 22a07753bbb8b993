"""`rank` and `compare_methods`: the order in which methods would remove layers, and how far they agree."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from layerlimits import methods as ranking_methods
from layerlimits.api.models import ModelSource, depth, settings
from layerlimits.api.opening import ask_options, calibration_text, check_choosing, check_removal, open_evaluator
from layerlimits.api.options import RankOptions
from layerlimits.errors import UserError
from layerlimits.evaluation.calibration import Calibration
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.methods import Context, finite
from layerlimits.plugins import described, find, label, names
from layerlimits.progress import Bar
from layerlimits.results.rankings import MethodRanking, RankingsComparison, RankResults
from layerlimits.statistics.intervals import kendall_tau
from layerlimits.tasks import choose
from layerlimits.types import Ranking

Agreement = TypeVar("Agreement")
_DEFAULT = RankOptions()


def rank(
    model: ModelSource, method: str, options: RankOptions = _DEFAULT, out: str | Path | None = None
) -> RankResults:
    """The order in which a method would remove a model's layers.

    Args:
        model: a model of `load`, or what names one.
        method: a name, with options as in "magnitude:p=2", or the path of a method's file (see `catalogue`).
        options: what the method may use.
        out: run folder that stores the answers of methods that ask tasks; not stored if None.
    Returns:
        A score and a place in the order for each layer.
    Raises:
        UserError: an unknown method, or one that cannot rank this model; see `methods.rank`.

    Example:
        >>> results = rank("reference", "block_influence", RankOptions(items=16))
        >>> results.ranking.order[:3]
    """
    layers = _checked(model, [method], options)
    with open_evaluator(model, ask_options(options), seed=options.seed, out=out) as evaluator:
        text = calibration_text(options, evaluator)
        with Bar(1.0) as bar, bar.stage(f"ranking by {method}"):
            result = ranking(method, options, evaluator, text, bar.advance)
        return RankResults(settings(model).model, _row(result, method, layers))


def compare_methods(
    model: ModelSource,
    methods: Sequence[str] | None = None,
    options: RankOptions = _DEFAULT,
    out: str | Path | None = None,
) -> RankingsComparison:
    """The rankings of several methods, and how far they agree.

    Args:
        model, options, out: as for `rank`; a quarter of the layers is compared if `options.layers` is None.
        methods: names or files of methods; every method if None.
    Returns:
        The rankings by method, Kendall's tau of their scores, the overlap of the first layers they remove, and for
        methods that cannot rank this model the reason.
    Raises:
        UserError: no method, an unknown one, or none that can rank this model.

    Example:
        >>> compare_methods("reference", ["reverse", "block_influence"], RankOptions(layers=3)).kendall_tau
    """
    chosen = names("methods") if methods is None else list(dict.fromkeys(methods))
    if not chosen:
        raise UserError("no method given", "name one, several separated by commas, or all")
    layers = _checked(model, chosen, options)
    # Agreement is counted over one number of layers, which block methods need anyway.
    count = max(1, round(layers / 4)) if options.layers is None else options.layers
    with open_evaluator(model, ask_options(options), seed=options.seed, out=out) as evaluator:
        rankings, failed = _rankings(chosen, replace(options, layers=count), evaluator)
    name = settings(model).model
    if not rankings:
        raise UserError(f"no method can rank {name}: " + "; ".join(failed.values()), "see each method's reason")
    results = {result.method: result for result in rankings.values()}
    return RankingsComparison(
        model=name,
        layers=layers,
        n=count,
        rankings={result.method: _row(result, spec, layers) for spec, result in rankings.items()},
        failed=failed,
        kendall_tau=_pairs(results, _tau),
        overlap=_pairs(results, lambda first, second: _overlap(first, second, count)),
    )


def _checked(model: ModelSource, methods: Sequence[str], options: RankOptions) -> int:
    """The model's number of layers, after every check that needs no weights."""
    for method in methods:
        find("methods", method)
    layers = depth(model)
    check_removal(options, layers)
    check_choosing(options)
    return layers


def ranking(
    method: str, options: RankOptions, evaluator: Evaluator, text: Calibration, on_progress: Callable[[float], None]
) -> Ranking:
    """What a method says of the model's layers.

    Raises:
        UserError: an unknown method or option, or more layers than it finds.
    """
    context = Context(
        evaluator,
        layers=options.layers,
        calibration=text,
        tasks=tuple(choose(options.tasks)),
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
    methods: Sequence[str], options: RankOptions, evaluator: Evaluator
) -> tuple[dict[str, Ranking], dict[str, str]]:
    """The rankings by method as given, and the reasons of methods that cannot rank this model."""
    rankings: dict[str, Ranking] = {}
    failed: dict[str, str] = {}
    text = calibration_text(options, evaluator)
    with Bar(float(len(methods))) as bar:
        for done, method in enumerate(methods, 1):
            with bar.stage(f"ranking by {method}"):
                try:
                    rankings[method] = ranking(method, options, evaluator, text, bar.advance)
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
    """Kendall's tau-b of the scores of the layers that both score, turned so that small scores go first."""
    signs = [-1 if result.largest_first else 1 for result in (first, second)]
    both = [
        (signs[0] * left, signs[1] * right)
        for left, right in zip(first.scores, second.scores, strict=True)
        if left is not None and right is not None
    ]
    return kendall_tau([left for left, _ in both], [right for _, right in both])


def _overlap(first: Ranking, second: Ranking, count: int) -> float:
    """The share of the first `count` layers that both remove."""
    return len(set(first.plan(count)) & set(second.plan(count))) / count
