"""Engines compute the answers of a model's variants. Each file exports its engine class under the name of the file.

An engine has the methods of `Engine`. An engine that runs one model at a time inherits `SingleModelEngine` and computes
batches with the model in its current state.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from typing import Protocol as Interface

from layerlimits.models.remove import without_layers
from layerlimits.types import GREEDY, Continuation, Decoding, Drafts, Limits, Response, Variant

Result = TypeVar("Result")
# Log-likelihood of a continuation in nats, and whether greedy decoding would write it.
Likelihood = tuple[float, bool]

# An engine that weighs rows independently of each other is given at least this many at a time.
_ROWS_AT_A_TIME = 8


@dataclass(frozen=True)
class Unfinished:
    """A response that is being computed.

    Args:
        variant, place: indices of its variant and of its prompt in the call of the engine.
        tokens: number of tokens written so far.
        written: these tokens, if a later call can continue after them; empty otherwise.
        read_frac: share of the prompt that has been read.
    """

    variant: int
    place: int
    tokens: int
    written: Sequence[int] = ()
    read_frac: float = 1.0


class Recorder:
    """What an engine reports while it computes, and what an interrupted call has left of the same work.

    The methods here ignore and remember nothing. Variants and prompts (or rows) are given by their indices in the call.
    """

    def stored(self, variant: int, place: int) -> Response | None:
        """A response that is already known: `generate` returns it instead of computing it, if it can compute the others
        without it.
        """
        return None

    def begun(self, variant: int, place: int) -> Sequence[int]:
        """Tokens that an interrupted call had written of a response. Like drafts, they never change a response."""
        return ()

    def finished(self, variant: int, place: int, answer: Response | Likelihood) -> None:
        """Called for each response (`generate`) or row (`loglikelihoods`) as soon as it is final; again if the engine
        starts over because memory ran out.
        """

    def working(self, unfinished: Callable[[], Iterable[Unfinished]]) -> None:
        """Called after every pass through the model.

        Args:
            unfinished: lists the responses that are being computed, if the recorder needs them.
        """


UNRECORDED = Recorder()


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
        recorder: Recorder = UNRECORDED,
    ) -> list[list[Response]]:
        """One response per variant and prompt, [variant][prompt].

        Args:
            variants: the removed layers of each.
            prompts: one batch.
            max_new_tokens: one limit for all prompts, or one per prompt.
            seed: seed of the random numbers, the same for every variant.
            drafts: tokens likely to resemble the responses, one draft per prompt. They save work and never change a
                response.
            recorder: is told of each response as soon as it is finished.
        """

    def loglikelihoods(
        self, variants: Sequence[Variant], rows: Sequence[Continuation], recorder: Recorder = UNRECORDED
    ) -> list[list[Likelihood]]:
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
    # Whether a log-likelihood does not depend on the other rows, so that few rows can be weighed at a time.
    weighs_independently = False

    def __init__(self, model: Any = None) -> None:
        self._model = model
        # `generate_batch` may call it with the number of tokens that the answers of the batch have so far.
        self._on_step: Callable[[int], None] = lambda tokens: None

    def generate_batch(
        self, prompts: list[list[int]], max_new_tokens: int, decoding: Decoding = GREEDY, seed: int = 0
    ) -> list[Response]:
        """One response per prompt. The prompts form one batch; sampling depends only on them and on `seed`."""
        raise NotImplementedError  # the subclass computes it

    def loglikelihood_batch(self, rows: Sequence[Continuation]) -> list[Likelihood]:
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
        recorder: Recorder = UNRECORDED,
    ) -> list[list[Response]]:
        """As `Engine.generate`; prompts with the same limit form one batch. Neither drafts are used, nor what the
        recorder has stored.
        """
        limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)

        def generate_all(number: int) -> list[Response]:
            responses: dict[int, Response] = {}
            for limit in dict.fromkeys(limits):
                places = [place for place in range(len(prompts)) if limits[place] == limit]
                with self._reporting(recorder, number, places):
                    batch = self.generate_batch([prompts[place] for place in places], limit, decoding, seed)
                for place, response in zip(places, batch, strict=True):
                    responses[place] = response
                    recorder.finished(number, place, response)
                recorder.working(lambda: ())
            return [responses[place] for place in range(len(prompts))]

        return [self._without(variant, generate_all, number) for number, variant in enumerate(variants)]

    def loglikelihoods(
        self, variants: Sequence[Variant], rows: Sequence[Continuation], recorder: Recorder = UNRECORDED
    ) -> list[list[Likelihood]]:
        """As `Engine.loglikelihoods`; the rows form one batch, unless they are independent."""
        groups = list(_by_context(rows)) if self.weighs_independently else [range(len(rows))]

        def weigh_all(number: int) -> list[Likelihood]:
            results: list[Likelihood] = []
            for group in groups:
                results += self.loglikelihood_batch([rows[row] for row in group])
                for row in group:
                    recorder.finished(number, row, results[row])
                recorder.working(lambda: ())
            return results

        return [self._without(variant, weigh_all, number) for number, variant in enumerate(variants)]

    @contextmanager
    def _reporting(self, recorder: Recorder, variant: int, places: Sequence[int]) -> Iterator[None]:
        """Inside the block, the length of a variant's answers to these prompts is reported after each step."""
        before = self._on_step
        self._on_step = lambda tokens: recorder.working(
            lambda: [Unfinished(variant, place, tokens) for place in places]
        )
        try:
            yield
        finally:
            self._on_step = before

    def _without(self, variant: Variant, compute: Callable[[int], Result], number: int) -> Result:
        if self._model is None:
            return compute(number)
        with without_layers(self._model, variant):
            return compute(number)


def _by_context(rows: Sequence[Continuation]) -> Iterator[range]:
    """The rows in small groups; neighbours with the same context, which an engine may read once, stay together."""
    start = 0
    for row in range(1, len(rows)):
        if row - start >= _ROWS_AT_A_TIME and rows[row][0] != rows[row - 1][0]:
            yield range(start, row)
            start = row
    if rows:
        yield range(start, len(rows))
