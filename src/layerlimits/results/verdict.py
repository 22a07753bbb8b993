"""The verdict on a study: which pruned and finetuned models keep what is required, as typed documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from layerlimits.results.frames import Document
from layerlimits.results.requirements import Outcome, Requirement
from layerlimits.types import Estimate


@dataclass(frozen=True)
class Judgement:
    """Whether a model meets a requirement.

    Args:
        requirement: The requirement as text.
        model: Name of the model.
        estimate, low, high: Its retention, with one-sided bounds at `error`; None if it cannot be measured.
        error: The requirement's error divided by the number of models that share it.
        n: Number of items.
        verdict: "keeps" if the lower bound is at least the threshold, "fails" if the upper bound is below it, else "too
            few items".
        items_needed: With "too few items": items per task that would decide with 80% power if the retention is the
            estimate; None if it cannot be measured, or if they exceed a million.
        sentence: The judgement in a sentence.
    """

    requirement: str
    model: str
    estimate: float | None
    low: float | None
    high: float | None
    error: float
    n: int
    verdict: Outcome
    items_needed: int | None
    sentence: str


@dataclass(frozen=True)
class WorstTask:
    """The task with the lowest lower bound of retention; bounds as in `Judgement`."""

    task: str
    retention: Estimate


@dataclass(frozen=True)
class Gain:
    """What removing the layers gains, as timed in the study.

    Args:
        tokens_per_s: Decoding speed over all prompts; median and range over interleaved repeats.
        speedup: The same over the unpruned model's.
        weight_bytes, peak_bytes: Size of the weights; peak memory on a GPU, weights plus key-value cache on a CPU.
        base_weight_bytes, base_peak_bytes: Those of the unpruned model.
        batch, prompt_tokens, new_tokens: Number and length of the prompts, and tokens generated for each; None if a
            former version timed the models.
        timed: The layers removed from the timed model; with other layers, they are as many.
    """

    tokens_per_s: Estimate
    speedup: Estimate
    weight_bytes: int
    peak_bytes: int
    base_weight_bytes: int
    base_peak_bytes: int
    batch: int | None
    prompt_tokens: int | None
    new_tokens: int | None
    timed: tuple[int, ...]


@dataclass(frozen=True)
class Card:
    """A pruned or finetuned model of a study, with its judgements.

    Args:
        name: METHOD-LAYERS, or METHOD-LAYERS-FINETUNING for a finetuned model.
        methods: The methods that remove these layers.
        layers, of: Number of removed layers, and of layers of the unpruned model.
        removed: The removed layers.
        finetuning: Name of the finetuning; empty for a pruned model.
        verdict: "keeps" if every requirement is kept, "fails" if one is not, else "too few items".
        items_needed: Items per task that would decide on all requirements; None if unknown or not needed.
        judgements: One per requirement.
        worst: None if retention cannot be measured on any task.
        gain: None if no model of this size was timed.
        harm: A sentence if finetuning has lowered scores; of a pruned model, those of its finetuned models.
        finetuned: Names of the cards of the models finetuned from this one.
        sentence: The verdict in a sentence.
        commands: Command lines that make the model.
    """

    name: str
    methods: tuple[str, ...]
    layers: int
    of: int
    removed: tuple[int, ...]
    finetuning: str
    verdict: Outcome
    items_needed: int | None
    judgements: tuple[Judgement, ...]
    worst: WorstTask | None
    gain: Gain | None
    harm: str
    finetuned: tuple[str, ...]
    sentence: str
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Verdict(Document):
    """Which models of a study keep what is required.

    Args:
        requirements: The requirements.
        finished: Whether the study is finished; otherwise there are no cards.
        compared: Number of models whose results were looked at.
        shared_by: Number of models that share the error of each requirement after Holm's steps.
        choice: A sentence on how the choice among the models is accounted for.
        best: Name of the deepest cut that keeps everything, or None.
        cards: The models: those that keep everything first, and within a verdict the deepest cut first.
        sentences: The verdict in sentences.
    """

    requirements: tuple[Requirement, ...]
    finished: bool
    compared: int
    shared_by: int
    choice: str
    best: str | None
    cards: tuple[Card, ...]
    sentences: tuple[str, ...]

    def records(self) -> list[dict[str, Any]]:
        """A row per model and requirement."""
        return [dict(vars(judgement)) for card in self.cards for judgement in card.judgements]

    @property
    def title(self) -> str:
        """The heading in a notebook."""
        return "Which models keep what is required"

    @property
    def remarks(self) -> Sequence[str]:
        """The sentences of the verdict."""
        return self.sentences
