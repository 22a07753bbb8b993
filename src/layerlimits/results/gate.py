"""The results of `gate` and `advise`: whether a run has a model that keeps what is required, and the deepest cuts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from layerlimits.errors import UserError, unknown
from layerlimits.results.frames import Document
from layerlimits.results.requirements import Outcome
from layerlimits.results.verdict import Card, Verdict


@dataclass(frozen=True)
class GateResults(Document):
    """Whether a model of a run keeps what is required.

    Args:
        run: The run folder.
        passed: Whether the model does.
        model: The model that was asked for; else the deepest cut that keeps everything, or the one nearest to it.
        requirements: The requirements.
        card: The model's judgements.
        choice: How the choice among the models is accounted for.
    """

    run: str
    passed: bool
    model: str
    requirements: tuple[str, ...]
    card: Card
    choice: str

    @property
    def status(self) -> int:
        """The exit status: 0 if the model keeps everything, else 1."""
        return 0 if self.passed else 1

    def records(self) -> list[dict[str, Any]]:
        """A row per requirement."""
        return [dict(vars(judgement)) for judgement in self.card.judgements]

    @property
    def title(self) -> str:
        """The heading in a notebook."""
        return f"{self.run}: {self.model} {'passes' if self.passed else 'does not pass'}"


@dataclass(frozen=True)
class Advice:
    """The deepest cut of a method that keeps what is required.

    Args:
        method: The method; with the name of a finetuning in brackets, its finetuned models.
        verdict: "keeps" if a cut keeps everything; "too few items" if none does and one is not decided; else "fails".
        model: The deepest cut that keeps everything, or of those that are not decided the one with the fewest needed
            items; None if all fail.
        layers: Its number of removed layers.
        items_needed: Items per task that would decide on it; None if it is decided, or they are unknown.
        sentence: The advice in a sentence.
    """

    method: str
    verdict: Outcome
    model: str | None
    layers: int | None
    items_needed: int | None
    sentence: str


@dataclass(frozen=True)
class AdviseResults(Document):
    """The deepest cut that keeps what is required, by method, in the order of the study."""

    run: str
    requirements: tuple[str, ...]
    best: str | None
    methods: tuple[Advice, ...]
    choice: str
    sentences: tuple[str, ...]

    def records(self) -> list[dict[str, Any]]:
        """A row per method."""
        return [dict(vars(advice)) for advice in self.methods]

    @property
    def title(self) -> str:
        """The heading in a notebook."""
        return f"{self.run}: the deepest cut by method"

    @property
    def remarks(self) -> Sequence[str]:
        """The sentences of the verdict."""
        return self.sentences


def gate_results(run: str, verdict: Verdict, model: str | None) -> GateResults:
    """Whether a model of a run keeps what is required.

    Args:
        run: The run folder.
        verdict: The verdict on its models.
        model: Name of the model; any if None.
    Raises:
        UserError: The study is not finished, has no pruned model, or none of this name.
    """
    _check(run, verdict)
    card = _nearest(verdict.cards) if model is None else _named(verdict, model)
    return GateResults(
        run=run,
        passed=card.verdict == "keeps",
        model=card.name,
        requirements=tuple(map(str, verdict.requirements)),
        card=card,
        choice=verdict.choice,
    )


def advise_results(run: str, verdict: Verdict) -> AdviseResults:
    """The deepest cut by method.

    Raises:
        UserError: The study is not finished, or has no pruned model.
    """
    _check(run, verdict)
    groups: dict[str, list[Card]] = {}
    for card in verdict.cards:
        for group in _groups(card):
            groups.setdefault(group, []).append(card)
    return AdviseResults(
        run=run,
        requirements=tuple(map(str, verdict.requirements)),
        best=verdict.best,
        methods=tuple(_advice(method, groups[method]) for method in sorted(groups)),
        choice=verdict.choice,
        sentences=verdict.sentences,
    )


def _check(run: str, verdict: Verdict) -> None:
    if not verdict.finished:
        raise UserError(f"the study in {run} is not finished", "repeat the command that started it; it resumes")
    if not verdict.cards:
        raise UserError(
            f"the study in {run} has only the unpruned model, so that there is nothing to judge",
            "run `layerlimits study` with a method that can rank the layers (--methods) and a ratio (--ratios)",
        )


def _named(verdict: Verdict, name: str) -> Card:
    card = next((card for card in verdict.cards if name in _names(card)), None)
    if card is None:
        raise unknown("model of the run", name, sorted({known for card in verdict.cards for known in _names(card)}))
    return card


def _names(card: Card) -> set[str]:
    """The names of a model: with each method that removes its layers."""
    return {card.name} if card.finetuning else {f"{method}-{card.layers}" for method in card.methods}


def _groups(card: Card) -> Iterator[str]:
    for method in card.methods:
        yield f"{method} ({card.finetuning})" if card.finetuning else method


def _advice(method: str, cards: Sequence[Card]) -> Advice:
    card = _nearest(cards)
    if card.verdict == "fails":
        sentence = f"No cut by {method} keeps it: {card.sentence}"
        return Advice(method, "fails", None, None, None, sentence)
    return Advice(method, card.verdict, card.name, card.layers, card.items_needed, card.sentence)


def _nearest(cards: Sequence[Card]) -> Card:
    """The deepest cut that keeps everything; else the one that the fewest items decide on; else the smallest cut."""
    kept = [card for card in cards if card.verdict == "keeps"]
    if kept:
        return max(kept, key=lambda card: card.layers)
    undecided = [card for card in cards if card.verdict == "too few items"]
    return min(undecided or cards, key=lambda card: (card.items_needed is None, card.items_needed or 0, card.layers))
