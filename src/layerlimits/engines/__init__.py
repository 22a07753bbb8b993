"""Engines compute the answers of a model's variants. Each file exports its engine class under the name of the file.

An engine has the methods of `Engine`. An engine that runs one model at a time inherits `SingleModelEngine` and computes
batches with the model in its current state.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from typing import Protocol as Interface

from layerlimits.models.remove import without_layers
from layerlimits.types import GREEDY, Continuation, Decoding, Drafts, Limits, Response, Variant

Result = TypeVar("Result")


class Engine(Interface):
    """Answers prompts, given as token ids, for variants of one model.

    `joins_batches` is True if an answer does not depend on the rest of its batch, so that small batches of several
    tasks can be joined. A class that inherits one of the two methods can set `computed_by`, {kind: class name}, to the
    class whose code computes answers of that kind. The keys of responses contain this class name.
    """

    joins_batches: bool

    def generate(
        self,
        variants: Sequence[Variant],
        prompts: Sequence[list[int]],
        max_new_tokens: Limits,
        decoding: Decoding = GREEDY,
        seed: int = 0,
        drafts: Drafts = None,
    ) -> list[list[Response]]:
        """One response per variant and prompt, [variant][prompt].

        Args:
            variants: the removed layers of each.
            prompts: one batch.
            max_new_tokens: one limit for all prompts, or one per prompt.
            seed: seed of the random numbers, the same for every variant.
            drafts: tokens likely to resemble the responses, one draft per prompt. They save work and never change a
                response.
        """

    def loglikelihoods(
        self, variants: Sequence[Variant], rows: Sequence[Continuation]
    ) -> list[list[tuple[float, bool]]]:
        """Log-likelihood of each continuation after its context in nats, and whether greedy decoding would write it,
        [variant][row].
        """


class SingleModelEngine:
    """Runs one variant after another, with its layers removed from the model.

    A subclass defines `generate_batch` and `loglikelihood_batch`, which use the model in its current state.

    Args:
        model: the model to remove layers from; None if the answers depend on no model.
    """

    joins_batches = False

    def __init__(self, model: Any = None) -> None:
        self._model = model

    def generate_batch(
        self, prompts: list[list[int]], max_new_tokens: int, decoding: Decoding = GREEDY, seed: int = 0
    ) -> list[Response]:
        """One response per prompt. The prompts form one batch; sampling depends only on them and on `seed`."""
        raise NotImplementedError  # the subclass computes it

    def loglikelihood_batch(self, rows: Sequence[Continuation]) -> list[tuple[float, bool]]:
        """Log-likelihood of each continuation after its context in nats, and whether greedy decoding would write it."""
        raise NotImplementedError  # the subclass computes it

    def generate(
        self,
        variants: Sequence[Variant],
        prompts: Sequence[list[int]],
        max_new_tokens: Limits,
        decoding: Decoding = GREEDY,
        seed: int = 0,
        drafts: Drafts = None,
    ) -> list[list[Response]]:
        """As `Engine.generate`; prompts with the same limit form one batch, and drafts are not used."""
        limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)

        def generate_all() -> list[Response]:
            responses: dict[int, Response] = {}
            for limit in dict.fromkeys(limits):
                places = [place for place in range(len(prompts)) if limits[place] == limit]
                batch = self.generate_batch([prompts[place] for place in places], limit, decoding, seed)
                responses |= zip(places, batch, strict=True)
            return [responses[place] for place in range(len(prompts))]

        return [self._without(variant, generate_all) for variant in variants]

    def loglikelihoods(
        self, variants: Sequence[Variant], rows: Sequence[Continuation]
    ) -> list[list[tuple[float, bool]]]:
        """As `Engine.loglikelihoods`; the rows form one batch."""
        return [self._without(variant, lambda: self.loglikelihood_batch(rows)) for variant in variants]

    def _without(self, variant: Variant, compute: Callable[[], Result]) -> Result:
        if self._model is None:
            return compute()
        with without_layers(self._model, variant):
            return compute()
