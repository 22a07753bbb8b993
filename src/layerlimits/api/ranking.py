"""`rank`: the order in which one method, several or all would remove layers, and how far they agree."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from layerlimits import methods
from layerlimits.api.opening import calibration_text, check_choosing, check_removal, checked_folder, open_evaluator
from layerlimits.api.options import ModelOptions, RankOptions
from layerlimits.errors import UserError
from layerlimits.evaluation.calibration import Calibration
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.methods import Context
from layerlimits.models.locate import layer_count
from layerlimits.plugins import described, find, label, names
from layerlimits.progress import Bar
from layerlimits.results.document import MethodRanking, RankingsComparison, RankResults
from layerlimits.statistics.intervals import kendall_tau
from layerlimits.tasks import choose
from layerlimits.types import Ranking

ALL = "all"
Agreement = TypeVar("Agreement")


def rank(model: ModelOptions, options: RankOptions) -> RankResults | RankingsComparison:
    """One method's ranking; of several methods, or all of them, their rankings side by side.

    Raises:
        UserError: no method, an unknown one, or one that cannot rank this model; see `methods.rank`.
    """
    chosen = names("methods") if options.methods == (ALL,) else list(dict.fromkeys(options.methods))
    if not chosen:
        raise UserError("no method given", "name one, several separated by commas, or all")
    for method in chosen:
        find("methods", method)
    folder = checked_folder(model)
    check_removal(options, folder)
    check_choosing(options)
    if options.methods != (ALL,) and len(chosen) == 1:
        return _one(model, options, chosen[0])
    return _several(model, options, chosen, layer_count(folder))


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
    return methods.rank(method, context)


def _one(model: ModelOptions, options: RankOptions, method: str) -> RankResults:
    with open_evaluator(model) as evaluator:
        text = calibration_text(options, evaluator)
        with Bar(1.0) as bar, bar.stage(f"ranking by {method}"):
            result = ranking(method, options, evaluator, text, bar.advance)
        return RankResults(model.model, _row(result, method, evaluator.loaded.depth))


def _row(result: Ranking, spec: str, depth: int) -> MethodRanking:
    return MethodRanking(
        method=result.method,
        scores=tuple(result.scores),
        order=tuple(result.order),
        largest_first=result.largest_first,
        layers=depth,
        protected=tuple(result.protected),
        items=len(result.used),
        used=tuple(result.used),
        source=described(find("methods", spec), "Source"),
    )


def _several(model: ModelOptions, options: RankOptions, chosen: list[str], depth: int) -> RankingsComparison:
    """Methods that cannot rank this model are named with the reason; the others stand."""
    # Agreement is counted over one number of layers, which block methods need anyway.
    count = max(1, round(depth / 4)) if options.layers is None else options.layers
    counted = replace(options, layers=count)
    rankings: dict[str, Ranking] = {}
    rows: dict[str, MethodRanking] = {}
    failed: dict[str, str] = {}
    with open_evaluator(model) as evaluator, Bar(float(len(chosen))) as bar:
        text = calibration_text(options, evaluator)
        for done, spec in enumerate(chosen, 1):
            with bar.stage(f"ranking by {spec}"):
                try:
                    result = ranking(spec, counted, evaluator, text, bar.advance)
                except UserError as error:
                    failed[label(spec)] = error.problem
                    continue
                finally:
                    bar.reach(done)
            rankings[result.method], rows[result.method] = result, _row(result, spec, depth)
    if not rankings:
        raise UserError(f"no method can rank {model.model}: " + "; ".join(failed.values()), "see each method's reason")
    return RankingsComparison(
        model=model.model,
        layers=depth,
        n=count,
        rankings=rows,
        failed=failed,
        kendall_tau=_pairs(rankings, _tau),
        overlap=_pairs(rankings, lambda first, second: _overlap(first, second, count)),
    )


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
