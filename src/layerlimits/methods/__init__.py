"""Methods rank layers by how well the model does without them. Each file exports one function.

A method is `def name(context: Context, *, option=default, ...) -> Ranking`. Its docstring gives the formula and ends
with a `Source:` line and a `Cost:` line. Layers are numbered as in the base model. A file also exports
`passes(depth, rounds) -> float`, the approximate number of forward passes over the calibration text, and
`evaluations(depth, rounds) -> float`, the number of models evaluated on the selection items. Without them, time
estimates ignore the method, and a method of this folder gets no text or no tasks from the defaults for models other
than the bundled one. `NEEDED_KIND` is the kind of task ("generation" or "choice") that the method requires.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from layerlimits.errors import UserError
from layerlimits.methods._context import Context
from layerlimits.models.remove import check_count
from layerlimits.plugins import called, find, label
from layerlimits.types import Kind, Ranking

__all__ = ["Context", "Method", "by_rounds", "by_score", "effort", "needed_kind", "rank", "smallest"]


Method = Callable[[Context], Ranking]


def rank(spec: str, context: Context) -> Ranking:
    """Rank layers with a method, given by name or by file, optionally with options ("magnitude:p=2").

    Raises:
        UserError: Unknown method or option, or the method selects fewer layers than requested.
    """
    # Progress that the method does not report itself is reported when it ends.
    with context.progress() as report:
        ranking: Ranking = called(find("methods", spec), Ranking, spec, replace(context, on_progress=report))
    count = len(ranking.plan(context.rounds))
    if context.layers is not None and count < context.layers:
        protected = ", ".join(map(str, ranking.protected)) or "none"
        raise UserError(
            f"{label(spec)} selects {count} of {context.layers} layers to remove; "
            f"the model has {context.depth} layers (protected: {protected})",
            "remove fewer layers, protect fewer, or change the method's options",
        )
    return replace(ranking, method=label(spec))


def effort(spec: str, what: Literal["passes", "evaluations"], depth: int, rounds: int) -> float:
    """The number of passes or evaluations a method takes; 0 if its file does not define it."""
    count = inspect.unwrap(find("methods", spec)).__globals__.get(what)
    return float(count(depth, rounds)) if count else 0.0


def needed_kind(spec: str) -> Kind | None:
    """The kind of task that a method requires; None if it requires none or its file does not define it."""
    kind: Kind | None = inspect.unwrap(find("methods", spec)).__globals__.get("NEEDED_KIND")
    return kind


def by_score(
    method: str,
    scores: Sequence[float | None],
    protected: Sequence[int],
    used: Sequence[str] = (),
    detail: Mapping[str, Any] | None = None,
) -> Ranking:
    """One-shot ranking: layers sorted by score, smallest first; ties go to the later layer.

    Args:
        scores: One score per layer. Layers scored inf are removed last; only protected layers may be None.
    Raises:
        UserError: A score is not a number, or every score is inf.
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
    """Greedy ranking: each round scores the remaining layers and removes the one with the smallest score.

    Ties go to the later layer.

    Args:
        score: (layers removed so far, remaining layers) -> the score of additionally removing each remaining layer.
        largest_first: Remove the layer with the largest score instead.
    Returns:
        A ranking with the scores of the first round; `detail["rounds"]` contains those of all rounds.
    Raises:
        UserError: There are more rounds than unprotected layers, a score is not a number, or every score is inf.
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
    """The layer with the smallest score (the largest if `sign` is -1); the last one if several are equal."""
    return min(scores, key=lambda layer: (sign * scores[layer], -layer))


def finite(value: float | None) -> float | None:
    """A score as a JSON value: None if it is infinite, since JSON has no infinity."""
    return None if value is None or math.isinf(value) else value


def _checked(method: str, scores: Mapping[int, float | None], *, largest_first: bool = False) -> dict[int, float]:
    """The scores after checking that each is a number: a missing score is an error, not a 0.

    A loss may be infinite; such a layer is removed last. An infinite score that would be removed first is an error.
    """
    last = -math.inf if largest_first else math.inf
    for layer, score in scores.items():
        if score is None or not (math.isfinite(score) or score == last):
            raise UserError(
                f"{method} gives layer {layer} the score {score}", "use float32 or different calibration text"
            )
    checked = {layer: score for layer, score in scores.items() if score is not None}
    if checked and all(score == last for score in checked.values()):
        raise UserError(
            f"{method} gives every layer the score {last}, so the layers cannot be ranked",
            "use float32 or different calibration text",
        )
    return checked
