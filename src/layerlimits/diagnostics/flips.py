"""Items that a model gets wrong and the unpruned model right, and the reverse, with the place where the texts part."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from layerlimits.analysis.differences import first_difference
from layerlimits.diagnostics import (
    Answer,
    Chart,
    DiagnosedModel,
    Diagnostic,
    Finding,
    RunView,
    Source,
    common_items,
    correct,
    interval,
    is_graded,
)
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.statistics import intervals
from layerlimits.statistics.significance import McNemar, holm, mcnemar
from layerlimits.types import Estimate

_NAME = "flips"
_LOST_SHARE = "lost of the right ones"
# Characters of each text that a sentence shows from the first difference on.
_SHOWN = 40
Pair = tuple[Answer, Answer]


@dataclass(frozen=True)
class _Flips:
    """The answers of the unpruned model and of another one to the items of a task that both have answered."""

    model: DiagnosedModel
    task: TaskRecord
    pairs: Sequence[Pair]
    note: str

    @property
    def lost(self) -> Mapping[str, Pair]:
        """Right before, wrong after, by item."""
        return {base.item: (base, other) for base, other in self.pairs if correct(base) and not correct(other)}

    @property
    def won(self) -> Mapping[str, Pair]:
        """Wrong before, right after, by item."""
        return {base.item: (base, other) for base, other in self.pairs if correct(other) and not correct(base)}

    @property
    def right(self) -> list[Pair]:
        """Right before."""
        return [pair for pair in self.pairs if correct(pair[0])]

    @property
    def test(self) -> McNemar:
        """McNemar's exact test of equal accuracy."""
        before, after = ([float(correct(pair[side])) for pair in self.pairs] for side in (0, 1))
        return mcnemar(before, after)


def _findings(view: RunView) -> Iterator[Finding]:
    compared = [
        _Flips(model, task, pairs, common_items(view, model, task))
        for task in view.tasks
        for model in view.models
        if (pairs := view.pairs(model, task))
    ]
    if not compared:
        why = "no two models have answered the same items" if view.models else "the run has answers of one model only"
        yield Source(_NAME, "base", "", _LOST_SHARE).not_measurable(why)
        return
    graded = {row.task["name"] for row in compared if is_graded(answer for pair in row.pairs for answer in pair)}
    tested = [row for row in compared if row.task["name"] not in graded]
    adjusted = holm([row.test.p for row in tested])
    yield _main(tested, adjusted)
    for row, p in zip(tested, adjusted, strict=True):
        yield from _of_model(row, p, len(tested))
    for task in sorted(graded):
        yield Source(_NAME, "base", task, "lost").not_measurable(f"answers to {task} are graded, not right or wrong")
    yield from _common([row for row in tested if row.model.stage == "prune"])


def _of_model(row: _Flips, p: float, looks: int) -> Iterator[Finding]:
    label, task = row.model.label, row.task["name"]
    drawn = ", first draw" if len(row.task["decodings"]) > 1 else ""
    test = f"McNemar's exact test, p = {p:.2g} after Holm's correction for {looks} looks{drawn}"
    for name, verb, items in (("lost", "loses", row.lost), ("won", "wins", row.won)):
        value = intervals.mean([float(base.item in items) for base, _ in row.pairs])
        sentence = (
            f"Of {len(row.pairs)} items of {task}, {label} {verb} {len(items)}, {interval(value)}{row.note} ({test})."
        )
        yield Source(_NAME, label, task, name).measured(value, sentence, items)
    if row.task["kind"] == "generation":
        yield _common_start(row)
        if row.model.stage != "sweep":
            yield _example(row)


def _common_start(row: _Flips) -> Finding:
    """How much of the unpruned model's answer a model repeats before the first difference, on lost items."""
    label, task = row.model.label, row.task["name"]
    source = Source(_NAME, label, task, "common start of lost items")
    shares = {}
    for item, (base, other) in row.lost.items():
        if text := base.response.text:
            place = first_difference(text, other.response.text)
            shares[item] = 1.0 if place is None else min(1.0, place / len(text))
    if not shares:
        return source.not_measurable("no item with a text was lost")
    value = intervals.mean(list(shares.values()))
    sentence = f"On lost items of {task}, {label} first repeats {interval(value)} of the unpruned model's text."
    return source.measured(value, sentence, shares)


def _example(row: _Flips) -> Finding:
    """The lost item whose texts have the longest common start, with both texts from their first difference on."""
    label, task = row.model.label, row.task["name"]
    source = Source(_NAME, label, task, "first difference")
    places = {
        item: place
        for item, (base, other) in row.lost.items()
        if (place := first_difference(base.response.text, other.response.text)) is not None
    }
    if not places:
        return source.not_measurable("no item was lost with another text than the unpruned model's")
    item = max(places, key=lambda item: places[item])
    place, (base, other) = places[item], row.lost[item]
    texts = [_shown(answer.response.text[place:]) for answer in (base, other)]
    sentence = (
        f"An example of {task}: the texts are equal up to character {place}; then the unpruned model writes "
        f"{texts[0]} and {label} {texts[1]}."
    )
    return source.measured(Estimate(place, place, place, 1), sentence, [item])


def _shown(text: str) -> str:
    if not text:
        return "nothing more"
    return json.dumps(text[:_SHOWN] + "..." * (len(text) > _SHOWN), ensure_ascii=False)


def _common(rows: Sequence[_Flips]) -> Iterator[Finding]:
    """How many flips two methods share with the same number of removed layers: the Jaccard index."""
    for one, other in combinations(rows, 2):
        sizes = [len(row.model.removed) for row in (one, other)]
        if one.task["name"] != other.task["name"] or sizes[0] != sizes[1] or one.model.removed == other.model.removed:
            continue
        asked = {base.item for base, _ in one.pairs} & {base.item for base, _ in other.pairs}
        labels, task = f"{one.model.label}; {other.model.label}", one.task["name"]
        for name, verb in (("lost", "lose"), ("won", "win")):
            flipped = [{item for item in getattr(row, name) if item in asked} for row in (one, other)]
            source = Source(_NAME, labels, task, f"same items {name}")
            union = sorted(flipped[0] | flipped[1])
            if not union:
                yield source.not_measurable(f"neither model {verb}s an item", len(asked))
                continue
            both = [item for item in union if item in flipped[0] and item in flipped[1]]
            value = intervals.mean([float(item in both) for item in union])
            sentence = (
                f"Of the items of {task} that {one.model.label} or {other.model.label} {verb}s, both {verb} "
                f"{interval(value)}."
            )
            yield source.measured(value, sentence, both)


def _main(tested: Sequence[_Flips], adjusted: Sequence[float]) -> Finding:
    """The largest share of lost items among those that the unpruned model has right, over pruned models if any."""
    source = Source(_NAME, "base", "", _LOST_SHARE)
    if not tested:
        return source.not_measurable("answers to every task are graded, not right or wrong")
    is_pruned = any(row.model.stage == "prune" and row.right for row in tested)
    what = "pruned models" if is_pruned else "models without one layer"
    ranked = [
        (row, p)
        for row, p in zip(tested, adjusted, strict=True)
        if row.right and (row.model.stage == "prune" or not is_pruned)
    ]
    if not ranked:
        return source.not_measurable("the unpruned model has no item right")
    row, p = max(ranked, key=lambda entry: len(entry[0].lost) / len(entry[0].right))
    value = intervals.mean([float(not correct(other)) for _, other in row.right])
    sentence = (
        f"Of the items of {row.task['name']} that the unpruned model has right, {row.model.label} loses "
        f"{interval(value)}{row.note}: no more are lost in {len(ranked)} combinations of {what} and tasks (McNemar's "
        f"exact test, p = {p:.2g} after Holm's correction for {len(tested)} looks)."
    )
    return Source(_NAME, row.model.label, row.task["name"], _LOST_SHARE).measured(value, sentence, row.lost)


flips = Diagnostic(
    _NAME,
    "Items that flip",
    _findings,
    (
        Chart("Lost and won items without one layer", "layers", ("lost", "won"), "fraction of items"),
        Chart("Lost and won items", "bars", ("lost", "won"), "fraction of items"),
    ),
    caption="Lost: right before, wrong after. Won: the reverse. Both on the items that both models have answered.",
)
