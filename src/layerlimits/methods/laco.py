"""Merges blocks of layers from the top down while the final hidden states stay similar."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from layerlimits.errors import UserError
from layerlimits.methods import Context
from layerlimits.models.merge import checked_form, merge
from layerlimits.models.remove import without_layers
from layerlimits.models.stack import find_stack
from layerlimits.models.stream import Batch, batches
from layerlimits.types import MergeForm, Ranking

Merges = list[tuple[int, tuple[int, ...]]]

# Tried in order if no threshold is given, until enough layers merge; the authors tune it by hand for each model.
# With a negative cosine, the merged model would point away from the unpruned one.
_THRESHOLDS = (0.95, 0.85, 0.75, 0.65, 0.55, 0.45, 0.35, 0.25, 0.15, 0.0)


def laco(
    context: Context,
    *,
    size: int = 4,
    interval: int = 2,
    low: int = 0,
    high: int | None = None,
    threshold: float | None = None,
    texts: int = 16,
    form: str = "paper",
) -> Ranking:
    """Layer collapse: from the top down, merge the `size` - 1 layers after layer l into it if outputs change little.

    theta_l <- theta_l + sum over k = 1..size-1 of (theta_{l+k} - theta_l)      (form=paper)
    W_l <- W_{l+size-1} for the weight matrices                                 (form=code, see `models.merge.merge`)

    A merge is accepted if the mean over texts of the mean over real tokens of cos(state, state of the unpruned model)
    is above the threshold. States are taken after the final norm; cosines are computed in float64. l runs from
    `high` - `size` down to `low`, in the numbering of the remaining layers; it decreases by `interval` after an
    accepted merge and by 1 otherwise. The last merge is smaller if fewer layers remain to be removed. `prune` also
    merges the weights (replacement laco).

    Each number of layers has its own search and its own plan. `order` lists layers in the order they are absorbed, and
    their score is one minus the cosine after that merge; other layers have no score. `detail` has the merges and the
    threshold.

    Args:
        size: Number of layers merged into one.
        interval: Step of l after an accepted merge.
        low, high: Range of layers to merge, low <= layer < high; all layers by default.
        threshold: Minimum cosine; by default, the highest of .95, .85, ... .15, 0 that merges the requested number of
            layers.
        texts: Number of calibration texts to compare.
        form: "paper" for the formula of the paper, "code" for what the authors' code computes.
    Raises:
        UserError: An option is out of range, layers differ in shape, or the calibration text contains no token.
    Source: LaCo, arXiv 2402.11187, algorithm 1
    Cost: about one forward pass per layer over the texts for each threshold tried
    """
    high = context.depth if high is None else high
    _check(context.depth, size, interval, low, high)
    search = _Search(context, size, interval, low, high, texts, checked_form(form))
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
    """One merge is tried per layer for each of a few thresholds; most merges are shared between thresholds."""
    return 2.0 * depth


def _check(depth: int, size: int, interval: int, low: int, high: int) -> None:
    if size < 2 or interval < 1:
        raise UserError(f"laco: invalid size={size} or interval={interval}", "set size >= 2 and interval >= 1")
    if not 0 <= low < high <= depth:
        raise UserError(
            f"laco: invalid layer range low={low}, high={high} for a model with {depth} layers",
            f"set 0 <= low < high <= {depth}",
        )


@dataclass(frozen=True)
class _SearchResult:
    """The merges accepted at a threshold, and the cosine after each."""

    merges: Merges
    cosines: list[float]
    threshold: float

    @property
    def order(self) -> tuple[int, ...]:
        """Layers in the order they are absorbed."""
        return tuple(_absorbed(self.merges))


def _absorbed(merges: Merges) -> list[int]:
    return [layer for _, absorbed in merges for layer in absorbed]


@dataclass
class _Search:
    """Searches for merges; the similarity of each set of merges is computed once."""

    context: Context
    size: int
    interval: int
    low: int
    high: int
    texts: int
    form: MergeForm

    def __post_init__(self) -> None:
        self._model = self.context.model
        ids = self.context.calibration.ids[: self.texts]
        if not any(ids):
            raise UserError("laco: the calibration text contains no token", "use calibration text that is not empty")
        self._batches = list(batches(self._model, ids))
        self._rows = sum(len(batch.rows) for batch in self._batches)
        self._base = [self._states(batch) for batch in self._batches]
        if not all(bool(row.isfinite().all()) for states in self._base for row in states):
            raise UserError("laco: final hidden states are not finite", "use float32 or different calibration text")
        self._known: dict[tuple[tuple[int, tuple[int, ...]], ...], float] = {}

    def first(self, wanted: int, limits: Sequence[float], *, enough: int, share: float = 1.0) -> _SearchResult:
        """Search for merges that remove `wanted` layers, at the first threshold that removes at least `enough`.

        If no threshold does, the result is that of the last one. `share` is its fraction of the method's work.
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
        """The merge at a place, absorbing at most `max_absorbed` layers; None if empty or with a protected layer."""
        after = [layer for layer in remaining[place + 1 : place + self.size] if layer < self.high]
        absorbed = tuple(after[:max_absorbed])
        allowed = absorbed and not set(absorbed) & set(self.context.protected or ())
        return (remaining[place], absorbed) if allowed else None

    @torch.no_grad()
    def _cosine(self, merges: Merges) -> float:
        """Mean cosine between the final states with these merges and those of the unpruned model."""
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
                merge(layers, into, absorbed, self.form)
            with without_layers(self._model, _absorbed(merges)):
                yield
        finally:
            with torch.no_grad():
                for into, weights in before.items():
                    for weight, old in zip(layers[into].parameters(), weights, strict=True):
                        weight.copy_(old)

    @torch.no_grad()
    def _states(self, batch: Batch) -> list[Tensor]:
        """The states after the final norm at real tokens, one (T, D) tensor per row."""
        states = self._model.base_model(**batch.inputs).last_hidden_state
        return [row[mask] for row, mask in zip(states, batch.mask, strict=True)]


def _similarity(states: list[Tensor], base: list[Tensor]) -> float:
    """Sum over rows of the mean cosine of their tokens."""
    return sum(
        float(torch.nn.functional.cosine_similarity(row.double(), other.double(), dim=-1).mean())
        for row, other in zip(states, base, strict=True)
    )
