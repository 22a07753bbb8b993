"""Methods rank layers by how well a model can do without them. One file each, exporting one function.

A method is `def name(context: Context, *, option=default, ...) -> Ranking`. Its docstring gives the formula and ends
with a line `Source:` and a line `Cost:`. Everything is in the base model's numbering. A file may also export
`passes(depth, rounds) -> float`, about how many forward passes over the calibration text it takes, and
`evaluations(depth, rounds) -> float`, of how many models it asks the select items: for estimates of the time. With
`NEEDED_KIND` it names the kind of task ("generation" or "choice") that it cannot rank without.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from layerlimits.errors import UserError
from layerlimits.methods._context import Context
from layerlimits.models.remove import check_count
from layerlimits.plugins import find, label
from layerlimits.types import Kind, Ranking

__all__ = ["Context", "Method", "by_rounds", "by_score", "effort", "needed_kind", "rank", "smallest"]


Method = Callable[[Context], Ranking]


def rank(spec: str, context: Context) -> Ranking:
    """The ranking of a method by name, by file, or with options ("magnitude:p=2").

    Raises:
        UserError: an unknown method or option, or one that finds fewer layers than asked for.
    """
    # What a method does not report of its work is reported at its end.
    with context.progress() as report:
        ranking: Ranking = find("methods", spec)(replace(context, on_progress=report))
    count = len(ranking.plan(context.rounds))
    if context.layers is not None and count < context.layers:
        protected = ", ".join(map(str, ranking.protected)) or "none"
        raise UserError(
            f"{label(spec)} finds {count} of {context.layers} layers to remove; "
            f"the model has {context.depth}, protected are {protected}",
            "ask for fewer layers, protect fewer, or change the method's options",
        )
    return replace(ranking, method=label(spec))


def effort(spec: str, what: Literal["passes", "evaluations"], depth: int, rounds: int) -> float:
    """How many passes or evaluations a method takes; 0 where its file does not say."""
    count = inspect.unwrap(find("methods", spec)).__globals__.get(what)
    return float(count(depth, rounds)) if count else 0.0


def needed_kind(spec: str) -> Kind | None:
    """The kind of task that a method cannot rank without; None where it needs none, or its file does not say."""
    kind: Kind | None = inspect.unwrap(find("methods", spec)).__globals__.get("NEEDED_KIND")
    return kind


def by_score(
    method: str,
    scores: Sequence[float | None],
    protected: Sequence[int],
    used: Sequence[str] = (),
    detail: Mapping[str, Any] | None = None,
) -> Ranking:
    """A one-shot ranking: sorted by score, smallest first, ties to the later layer.

    Args:
        scores: one a layer, inf for what goes last; None only where protected.
    Raises:
        UserError: a score that is not a number, or inf for every layer.
    """
    free = {layer: score for layer, score in enumerate(scores) if layer not in protected}
    checked = _checked(method, free)
    order = sorted(checked, key=lambda layer: (checked[layer], -layer))
    shown = tuple(checked.get(layer) for layer in range(len(scores)))
    return Ranking(method, shown, tuple(order), tuple(used), detail or {}, protected=tuple(protected))


def by_rounds(
    method: str,
    context: Context,
    protected: Sequence[int],
    score: Callable[[tuple[int, ...], list[int]], Mapping[int, float]],
    used: Sequence[str] = (),
    detail: Mapping[str, Any] | None = None,
    *,
    largest_first: bool = False,
) -> Ranking:
    """A greedy ranking: each round scores the layers left and removes the smallest, ties to the later layer.

    Args:
        score: (layers removed so far, layers left) -> the score of removing each of them too.
    Returns:
        Scores of the first round; `detail["rounds"]` keeps all.
    Raises:
        UserError: more rounds than unprotected layers, or a score that is not a number, or inf for every layer.
    """
    check_count(context.rounds, context.depth, protected)
    removed: tuple[int, ...] = ()
    rounds: list[Mapping[int, float]] = []
    for _ in range(context.rounds):
        left = [layer for layer in range(context.depth) if layer not in {*removed, *protected}]
        scores = _checked(method, score(removed, left), largest_first=largest_first)
        rounds.append(scores)
        removed = (*removed, smallest(scores, -1 if largest_first else 1))
    first = tuple(rounds[0].get(layer) for layer in range(context.depth))
    every_round = {"rounds": [{str(layer): finite(value) for layer, value in scores.items()} for scores in rounds]}
    return Ranking(
        method,
        first,
        removed,
        tuple(used),
        every_round | dict(detail or {}),
        largest_first=largest_first,
        protected=tuple(protected),
    )


def smallest(scores: Mapping[int, float], sign: int = 1) -> int:
    """The layer with the smallest score (the largest if sign is -1), of equal ones the last."""
    return min(scores, key=lambda layer: (sign * scores[layer], -layer))


def finite(value: float | None) -> float | None:
    """A score for JSON, which has no infinity: None where it is infinite."""
    return None if value is None or math.isinf(value) else value


def _checked(method: str, scores: Mapping[int, float | None], *, largest_first: bool = False) -> dict[int, float]:
    """The scores, each of them a number: an unscored layer is a mistake, not a score of 0.

    A loss may be infinite: such a layer goes last. An infinite score that would go first is a mistake.
    """
    last = -math.inf if largest_first else math.inf
    for layer, score in scores.items():
        if score is None or not (math.isfinite(score) or score == last):
            raise UserError(f"{method} gives layer {layer} the score {score}", "use float32, or other calibration text")
    checked = {layer: score for layer, score in scores.items() if score is not None}
    if checked and all(score == last for score in checked.values()):
        raise UserError(
            f"{method} gives every layer the score {last}: nothing tells them apart",
            "use float32, or other calibration text",
        )
    return checked
