"""The sentences of a verdict, each under the condition that makes it true."""

import math
from collections.abc import Sequence

from layerlimits.results.judging import Measured
from layerlimits.results.requirements import Outcome, Requirement
from layerlimits.results.verdict import Card, Judgement, WorstTask
from layerlimits.types import Estimate


def percent_at_least(share: float) -> str:
    """A lower bound in percent, rounded down; not below 0, since no score is."""
    return f"{math.floor(1000 * max(0.0, share) + 1e-9) / 10:.1f}%"


def percent_at_most(share: float) -> str:
    """An upper bound in percent, rounded up."""
    return f"{math.ceil(1000 * share - 1e-9) / 10:.1f}%"


def layer_count(count: int) -> str:
    """A number of layers in words."""
    return "1 layer" if count == 1 else f"{count} layers"


def listed(names: Sequence[str], last: str = "and") -> str:
    """Names as a list in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"


def judgement_sentence(
    requirement: Requirement, interval: Estimate | None, target: Measured, verdict: Outcome, needed: int | None
) -> str:
    """The judgement of a model on one requirement, without the model's name."""
    if interval is None:
        return f"cannot be judged on {requirement.words}: {target.reason}"
    measured = (
        f"retention {interval.estimate:.1%}, {percent_at_least(interval.low)} to {percent_at_most(interval.high)}, "
        f"n = {interval.n:,}"
    )
    if verdict == "keeps":
        return f"keeps at least {requirement.words} ({measured})"
    if verdict == "fails":
        return f"keeps less than {requirement.words} ({measured})"
    enough = f"about {needed:,} items a task would tell" if needed else "a million items a task would not tell"
    return f"may or may not keep {requirement.words} ({measured}): n is too small, {enough}"


def choice_sentence(compared: int, shared_by: int) -> str:
    """How the choice among models is accounted for."""
    if compared == 1:
        return "One model was judged, so that there was no choice to correct for."
    after = f"; after Holm's steps, by {shared_by}" if shared_by != compared else ""
    return (
        f"The models are judged on evaluation items, and the choice among them is corrected for: the error of each "
        f"requirement is shared by all {compared} models that were looked at (divided by {compared}{after})."
    )


def card_sentence(name: str, layers: int, of: int, judgements: Sequence[Judgement], worst: WorstTask | None) -> str:
    """The verdict on a model in a sentence."""
    judged = listed([judgement.sentence for judgement in judgements])
    least = (
        f" On its worst task, {worst.task}, it keeps at least {percent_at_least(worst.retention.low)}." if worst else ""
    )
    return f"{name} ({layer_count(layers)} of {of} removed) {judged}.{least}"


def unfinished_sentence() -> str:
    """The verdict on a study that is not finished."""
    return "The study is not finished, so that there is no verdict yet; repeat its command to resume it."


def no_models_sentence() -> str:
    """The verdict on a study without pruned models."""
    return "The study has no pruned model, so that there is nothing to judge."


def verdict_sentences(requirements: Sequence[Requirement], cards: Sequence[Card], choice: str) -> tuple[str, ...]:
    """The verdict on a finished study: the deepest cut that keeps everything, or why there is none, and harm."""
    wanted = listed([f"at least {requirement.words}" for requirement in requirements])
    kept = [card for card in cards if card.verdict == "keeps"]
    sentences = [_best(kept[0], wanted, len(kept)) if kept else _none(cards, wanted)]
    if len(cards) > 1:
        sentences.append(choice)
    harmed = list(dict.fromkeys(card.harm for card in cards if card.harm and card.finetuning))
    sentences += harmed[:1]
    if len(harmed) > 1:
        sentences.append(f"Finetuning lowers scores of {len(harmed) - 1} more of the models.")
    return tuple(sentences)


def _best(card: Card, wanted: str, count: int) -> str:
    how = (
        f"{', '.join(card.methods)}, then finetuned ({card.finetuning})" if card.finetuning else ", ".join(card.methods)
    )
    worst = card.worst
    least = (
        f" Its worst task, {worst.task}, keeps at least {percent_at_least(worst.retention.low)} "
        f"(estimate {worst.retention.estimate:.1%}, n = {worst.retention.n:,})."
        if worst
        else ""
    )
    others = f" {count - 1} other models keep it too." if count > 2 else " One other model keeps it too." * (count == 2)
    return (
        f"{layer_count(card.layers).capitalize()} of {card.of} can be removed keeping {wanted}: layers "
        f"{listed([str(layer) for layer in card.removed])}, by {how} ({card.name}).{least}{others}"
        if card.layers > 1
        else f"1 layer of {card.of} can be removed keeping {wanted}: layer {card.removed[0]}, by {how} "
        f"({card.name}).{least}{others}"
    )


def _none(cards: Sequence[Card], wanted: str) -> str:
    """Why no model keeps everything: they fail, or there are too few items."""
    open_cards = [card for card in cards if card.verdict == "too few items"]
    failed = len(cards) - len(open_cards)
    sentence = f"No model of this study is shown to keep {wanted}."
    if failed:
        sentence += f" {failed} of {len(cards)} models {'do' if failed > 1 else 'does'} not."
    if open_cards:
        count = len(open_cards)
        needed = sorted(card.items_needed for card in open_cards if card.items_needed)
        enough = f"; about {needed[0]:,} items a task would tell for the first of them" if needed else ""
        sentence += f" For {count} of {len(cards)} models the number of items is too small to tell{enough}."
    return sentence
