"""All variants of one model in one batch: rows of different variants share every layer that both keep."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.engines._answers import Answering, Bounds, Row, passes
from layerlimits.engines._forks import Variant, forked
from layerlimits.engines._rows import Rows
from layerlimits.engines._trial import refusal
from layerlimits.engines.transformers import transformers
from layerlimits.errors import UserError
from layerlimits.models.remove import without_layers
from layerlimits.models.stack import find_stack
from layerlimits.types import Continuation, Response

Answer = TypeVar("Answer")

# A pass is wide enough for the arithmetic, and narrow enough to pad little.
_PASS_TOKENS = 8192


def _no_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed; on a CPU torch has no error of its own for it."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class sweep(transformers):  # noqa: N801  # a plug-in is named like its file
    """Greedy answers and log-likelihoods of many variants together; one alone is asked as `transformers` does.

    Args:
        max_rows: answers under way at a time.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, max_rows: int = 2048) -> None:
        super().__init__(model, tokenizer)
        self._bounds = Bounds(max_rows, _PASS_TOKENS, model.config.get_text_config().vocab_size)
        # Tokens taken from drafts and guesses, and tokens written one by one.
        self.accepted = self.written = 0
        self._checked = False
        # Why this model cannot be asked so, None where it can.
        self.refusal: str | None = None

    def generate_many(
        self,
        variants: Sequence[Variant],
        prompts: Sequence[list[int]],
        max_new_tokens: int,
        drafts: Sequence[Sequence[int]] | None = None,
    ) -> list[list[Response]]:
        """One greedy response a variant and prompt, [variant][prompt], as each variant alone would give it.

        What all variants lack is taken out first; the model without it answers, unless `drafts` are given. Its answers
        are the drafts of all variants: one pass verifies them up to the first difference, from where a variant decodes
        on.
        """
        if not self._fits():
            return [self._alone(variant, lambda: self.generate(list(prompts), max_new_tokens)) for variant in variants]
        return self._within_memory(lambda: self._generated(variants, prompts, max_new_tokens, drafts))

    def _generated(
        self,
        variants: Sequence[Variant],
        prompts: Sequence[list[int]],
        most: int,
        drafts: Sequence[Sequence[int]] | None,
    ) -> list[list[Response]]:
        with self._opened(variants) as (rows, inner):
            answering = Answering(rows, self._ends, self._bounds)
            if drafts is None:
                drafts = [row.tokens for row in answering.answers([()], prompts, most, None)[0]]
            found = answering.answers(inner, prompts, most, [self._up_to_end(draft, most) for draft in drafts])
        self.accepted += answering.accepted
        self.written += answering.written
        return [[self._made(row) for row in answers] for answers in found]

    def loglikelihoods_many(self, variants: Sequence[Variant], rows: Sequence[Continuation]) -> list[list[float]]:
        """Log-probability of every continuation after its context, in nats, [variant][row]."""
        if not self._fits():
            return [
                self._alone(variant, lambda: [weight for weight, _ in self.loglikelihoods(rows)])
                for variant in variants
            ]
        return self._within_memory(lambda: self._weighed(variants, rows))

    def _weighed(self, variants: Sequence[Variant], rows: Sequence[Continuation]) -> list[list[float]]:
        with self._opened(variants) as (opened, inner):
            return self._weigh(opened, inner, rows)

    def _within_memory(self, ask: Callable[[], Answer]) -> Answer:
        """What `ask` returns, asked again with half the rows where memory does not suffice.

        Raises:
            UserError: it does not suffice for one row.
        """
        while True:
            try:
                return ask()
            except RuntimeError as error:
                if not _no_memory(error):
                    raise
            if self._bounds.rows == 1:
                raise UserError(
                    "memory does not suffice for one answer of this model", "use a smaller --dtype, or another device"
                )
            self._bounds = self._bounds.halved()
            print(f"note: memory is short: {self._bounds.rows} rows at a time from here on", file=sys.stderr)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _alone(self, variant: Variant, ask: Callable[[], Answer]) -> Answer:
        with without_layers(self._model, variant):
            return ask()

    @contextmanager
    def _opened(self, variants: Sequence[Variant]) -> Iterator[tuple[Rows, list[Variant]]]:
        """The model without what all variants lack, open for rows; gives the variants in its numbering."""
        common = set(variants[0]).intersection(*variants)
        with without_layers(self._model, common):
            depth = len(find_stack(self._model)) + len(common)
            left = [layer for layer in range(depth) if layer not in common]
            place = {layer: at for at, layer in enumerate(left)}
            inner = [tuple(sorted(place[layer] for layer in variant if layer not in common)) for variant in variants]
            with Rows(self._model).opened() as rows:
                yield rows, inner

    def _fits(self) -> bool:
        """Whether rows of this model can share layers: tried once against the model itself."""
        if not self._checked:
            self._checked = True
            self.refusal = refusal(self._model)
            if self.refusal:
                print(f"note: one variant at a time, since {self.refusal}", file=sys.stderr)
        return self.refusal is None

    def _up_to_end(self, draft: Sequence[int], most: int) -> list[int]:
        end = next((at for at, token in enumerate(draft) if token in self._ends), len(draft))
        return list(draft[: min(end, most)])

    def _made(self, row: Row) -> Response:
        return self._response(row.tokens, stopped=row.finish == "stop")

    def _weigh(self, opened: Rows, variants: Sequence[Variant], rows: Sequence[Continuation]) -> list[list[float]]:
        found = [[0.0] * len(rows) for _ in variants]
        texts = [(context + continuation)[:-1] for context, continuation in rows]
        for group in passes(texts, len(variants), self._bounds):
            spans = [range(len(rows[at][0]) - 1, len(texts[at])) for at in group]
            wanted = [(v, t, p) for v in range(len(variants)) for t, span in enumerate(spans) for p in span]
            logits, _ = forked(opened, [texts[at] for at in group], variants, wanted)
            targets = torch.tensor([token for at in group for token in rows[at][1]] * len(variants))
            each = logits.float().log_softmax(-1).gather(1, targets.to(logits.device)[:, None])[:, 0]
            sums = iter(part.sum().item() for part in each.split([len(rows[at][1]) for at in group] * len(variants)))
            for variant in range(len(variants)):
                for at in group:
                    found[variant][at] = next(sums)
        return found
