"""Merging blocks of layers from the top down, as long as the final states stay similar."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from layerlimits.errors import UserError
from layerlimits.methods import Context
from layerlimits.models.merge import merge
from layerlimits.models.remove import without_layers
from layerlimits.models.stack import find_stack
from layerlimits.models.stream import Batch, batches
from layerlimits.types import Ranking

Merges = list[tuple[int, tuple[int, ...]]]

# Thresholds tried where none is given, until enough layers merge: what the authors do by hand for each model.
_THRESHOLDS = (0.95, 0.85, 0.75, 0.65, 0.55, 0.45, 0.35, 0.25, 0.15, -1.0)


def laco(
    context: Context,
    *,
    size: int = 4,
    interval: int = 2,
    low: int = 0,
    high: int | None = None,
    threshold: float | None = None,
    texts: int = 16,
) -> Ranking:
    """Layer collapse: from the top down, merge the `size` - 1 layers after layer l into it; keep merges that do little.

    theta_l <- theta_l + sum over k = 1..size-1 of (theta_{l+k} - theta_l)

    kept if the mean over texts of the mean over real tokens of cos(state, state of the unpruned model) is above the
    threshold, states taken after the final norm, cosines in float64. l starts at `high` - `size` and ends at `low`, in
    the numbering of what is left; it falls by `interval` after a merge, by 1 after none. The last merge is smaller
    where fewer layers are to go. `prune` merges the weights too (replacement laco).

    Each number of layers has a search, and so a plan, of its own. `order` lists layers as they are absorbed, with one
    minus the cosine after that merge as their score; others have no score. `detail` holds the merges and the threshold.

    Args:
        size: layers merged into one.
        interval: how far l falls after a merge.
        low, high: the layers that may take part, low <= layer < high; all if not given.
        threshold: the cosine to stay above; if not given, the highest of .95, .85, ... .15 (then any) that merges as
            many layers as asked for.
        texts: how many calibration texts are compared.
    Raises:
        UserError: options out of range, layers of different form, or no calibration token.
    Source: LaCo, arXiv 2402.11187, algorithm 1
    Cost: about layers forward passes over the texts for each threshold tried
    """
    high = context.depth if high is None else high
    _check(context.depth, size, interval, low, high)
    search = _Search(context, size, interval, low, high, texts)
    limits = _THRESHOLDS if threshold is None else (threshold,)
    if context.layers is None:
        result = search.first(context.depth - 1, limits, enough=context.rounds)
        plans = {}
    else:
        results = {
            count: search.first(count, limits, enough=count, share=1 / context.layers)
            for count in range(1, context.layers + 1)
        }
        result = results[context.layers]
        plans = {count: search_result.order for count, search_result in results.items()}
    distances = {
        layer: 1 - cosine
        for (_, absorbed), cosine in zip(result.merges, result.cosines, strict=True)
        for layer in absorbed
    }
    scores = tuple(distances.get(layer) for layer in range(context.depth))
    detail = {"merges": [[into, list(absorbed)] for into, absorbed in result.merges], "threshold": result.threshold}
    used = context.calibration.hashes[:texts]
    return Ranking("laco", scores, result.order, used, detail, plans, protected=context.protected or ())


def passes(depth: int, rounds: int) -> float:
    """A merge is tried at about every layer, at a few thresholds; most of them were tried before."""
    return 2.0 * depth


def _check(depth: int, size: int, interval: int, low: int, high: int) -> None:
    if size < 2 or interval < 1:
        raise UserError(
            f"laco cannot merge {size} layers at intervals of {interval}", "set size >= 2 and interval >= 1"
        )
    if not 0 <= low < high <= depth:
        raise UserError(f"laco has no layers from {low} up to {high}: the model has {depth}", "set 0 <= low < high")


@dataclass(frozen=True)
class _SearchResult:
    """The merges kept at a threshold, and the cosine after each."""

    merges: Merges
    cosines: list[float]
    threshold: float

    @property
    def order(self) -> tuple[int, ...]:
        """Layers as they are absorbed."""
        return tuple(_absorbed(self.merges))


def _absorbed(merges: Merges) -> list[int]:
    return [layer for _, absorbed in merges for layer in absorbed]


@dataclass
class _Search:
    """Searches over merges whose similarity is remembered."""

    context: Context
    size: int
    interval: int
    low: int
    high: int
    texts: int

    def __post_init__(self) -> None:
        self._model = self.context.model
        ids = self.context.calibration.ids[: self.texts]
        if not any(ids):
            raise UserError("laco has no calibration token", "give calibration text that is not empty")
        self._batches = list(batches(self._model, ids))
        self._rows = sum(len(batch.rows) for batch in self._batches)
        self._base = [self._states(batch) for batch in self._batches]
        if not all(bool(row.isfinite().all()) for states in self._base for row in states):
            raise UserError("laco finds final states not finite", "use float32, or other calibration text")
        self._known: dict[tuple[tuple[int, tuple[int, ...]], ...], float] = {}

    def first(self, wanted: int, limits: Sequence[float], *, enough: int, share: float = 1.0) -> _SearchResult:
        """The merges at the first threshold that removes `enough` layers of the `wanted`; at the last if none does.

        `share` of the method's work is this search.
        """
        with self.context.progress(share):
            for limit in limits:
                result = self._run(limit, wanted)
                if len(result.order) >= enough:
                    break
        return result

    def _run(self, threshold: float, wanted: int) -> _SearchResult:
        merges: Merges = []
        cosines: list[float] = []
        remaining = list(range(self.context.depth))
        place = max(self.high - self.size, self.low)
        while place >= self.low and len(_absorbed(merges)) < wanted:
            candidate = self._candidate(remaining, place, wanted - len(_absorbed(merges)))
            cosine = self._cosine([*merges, candidate]) if candidate else -2.0
            if candidate and cosine > threshold:
                merges, cosines = [*merges, candidate], [*cosines, cosine]
                remaining = [layer for layer in remaining if layer not in candidate[1]]
                place = min(place - self.interval, len(remaining) - self.size)
            else:
                place -= 1
        return _SearchResult(merges, cosines, threshold)

    def _candidate(self, remaining: list[int], place: int, max_absorbed: int) -> tuple[int, tuple[int, ...]] | None:
        """The merge at a place of at most so many layers, None where it would absorb a protected layer or none."""
        after = [layer for layer in remaining[place + 1 : place + self.size] if layer < self.high]
        absorbed = tuple(after[:max_absorbed])
        allowed = absorbed and not set(absorbed) & set(self.context.protected or ())
        return (remaining[place], absorbed) if allowed else None

    @torch.no_grad()
    def _cosine(self, merges: Merges) -> float:
        """Mean cosine of the final states to the unpruned model's, with these merges done."""
        key = tuple(merges)
        if key not in self._known:
            with self._merged(merges):
                sums = [
                    _similarity(self._states(batch), base)
                    for batch, base in zip(self._batches, self._base, strict=True)
                ]
            self._known[key] = sum(sums) / self._rows
        return self._known[key]

    @contextmanager
    def _merged(self, merges: Merges) -> Iterator[None]:
        layers = find_stack(self._model).layers
        before = {into: [weight.detach().clone() for weight in layers[into].parameters()] for into, _ in merges}
        try:
            for into, absorbed in merges:
                merge(layers, into, absorbed)
            with without_layers(self._model, _absorbed(merges)):
                yield
        finally:
            with torch.no_grad():
                for into, weights in before.items():
                    for weight, old in zip(layers[into].parameters(), weights, strict=True):
                        weight.copy_(old)

    @torch.no_grad()
    def _states(self, batch: Batch) -> list[Tensor]:
        """Row by row the states after the final norm at real tokens, (T, D)."""
        states = self._model.base_model(**batch.inputs).last_hidden_state
        return [row[mask] for row, mask in zip(states, batch.mask, strict=True)]


def _similarity(states: list[Tensor], base: list[Tensor]) -> float:
    """Sum over rows of the mean cosine of their tokens."""
    return sum(
        float(torch.nn.functional.cosine_similarity(row.double(), other.double(), dim=-1).mean())
        for row, other in zip(states, base, strict=True)
    )
