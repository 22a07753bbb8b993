"""Engines answer prompts with variants of a model. One file each, exporting one class named like the file.

An engine has the methods of `Engine`. One that knows a single model only inherits `SingleModelEngine` and computes
batches with the model as it is.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from typing import Protocol as Interface

from layerlimits.models.remove import without_layers
from layerlimits.types import GREEDY, Continuation, Decoding, Drafts, Limits, Response, Variant

Result = TypeVar("Result")


class Engine(Interface):
    """Answers prompts, given as token ids, for variants of one model.

    `joins_batches` tells that an answer does not depend on what is asked beside it, so that small batches of several
    tasks may be joined. A class that inherits one of its two methods may have a `computed_by`, {kind: class name}: the
    class whose code computes answers of that kind, which is what a response's key names.
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
            variants: the layers each lacks.
            prompts: one batch.
            max_new_tokens: of all prompts, or of each.
            seed: alone decides what is sampled from the prompts, the same for every variant.
            drafts: tokens that resemble each prompt's responses; they save work and never change a response.
        """

    def loglikelihoods(
        self, variants: Sequence[Variant], rows: Sequence[Continuation]
    ) -> list[list[tuple[float, bool]]]:
        """Of each (context, continuation): its log-probability in nats, and whether greedy decoding would write it,
        [variant][row].
        """


class SingleModelEngine:
    """Asks one variant after another, each as the model with its layers skipped.

    A subclass computes with the model as it is at the time of the call, in `generate_batch` and `loglikelihood_batch`.

    Args:
        model: whose layers are skipped; None for an engine whose answers depend on no model.
    """

    joins_batches = False

    def __init__(self, model: Any = None) -> None:
        self._model = model

    def generate_batch(
        self, prompts: list[list[int]], max_new_tokens: int, decoding: Decoding = GREEDY, seed: int = 0
    ) -> list[Response]:
        """One response per prompt. The prompts form one batch; `seed` alone decides what is sampled."""
        raise NotImplementedError

    def loglikelihood_batch(self, rows: Sequence[Continuation]) -> list[tuple[float, bool]]:
        """Log-probability of each continuation after its context in nats, and whether greedy decoding writes it."""
        raise NotImplementedError

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
