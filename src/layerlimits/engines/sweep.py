"""All variants of one model in one batch: rows of different variants share every layer that both keep."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import psutil
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.engines._allocator import keep_freed_memory
from layerlimits.engines._answers import Answering, Bounds, passes
from layerlimits.engines._finite import NonFiniteVariant, naming
from layerlimits.engines._forks import read
from layerlimits.engines._rows import Rows
from layerlimits.engines._trial import Trial, tried
from layerlimits.engines._trunk import Row
from layerlimits.engines.transformers import TransformersEngine
from layerlimits.errors import UserError
from layerlimits.models.finite import gathered, refusal
from layerlimits.models.remove import without_layers
from layerlimits.models.stack import find_stack
from layerlimits.types import GREEDY, Continuation, Decoding, Drafts, Limits, Response, Variant

Answer = TypeVar("Answer")

# A pass is wide enough for the arithmetic, and narrow enough to pad little.
_PASS_TOKENS = 8192
# What a device multiplies while the operations of a layer are launched; on a GPU, while its weights are read.
_CHEAP_WORK = {"cpu": (16, 25_000_000), "cuda": (256, 4_000_000_000)}
# Tokens of the base's answer that are verified at once, at least. What a pass of a small model costs does not depend on
# how much it does: with layers of so many weights the base answers first, and more is verified at once.
_STRETCH = 8
_SMALL = 1_000_000


def _no_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed; on a CPU torch has no error of its own for it."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _bounds(model: PreTrainedModel, max_rows: int) -> Bounds:
    weights = sum(weight.numel() for weight in find_stack(model).layers[-1].parameters())
    least, work = _CHEAP_WORK.get(model.device.type, _CHEAP_WORK["cuda"])
    vocabulary = model.config.get_text_config().vocab_size
    stretch = max(_STRETCH, _STRETCH * _SMALL // weights)
    return Bounds(
        max_rows, _PASS_TOKENS, vocabulary, max(least, work // weights), stretch, together=stretch == _STRETCH
    )


def _memory(device: torch.device) -> int:
    """What keys and values may take, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 2
    return int(psutil.virtual_memory().available) // 4


class SweepEngine(TransformersEngine):
    """Greedy answers and log-likelihoods of many variants together; what is drawn at random is as by `transformers`.

    Args:
        max_rows: answers under way at a time.
    """

    # A row's answer does not depend on the rows beside it, but for rounding.
    joins_batches = True

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, max_rows: int = 2048) -> None:
        super().__init__(model, tokenizer)
        if model.device.type == "cpu":
            keep_freed_memory()
        self._bounds = _bounds(model, max_rows)
        # Tokens taken from drafts and guesses, and tokens written one by one.
        self.accepted = self.written = 0
        self._trial: Trial | None = None
        self._told = False

    def generate(
        self,
        variants: Sequence[Variant],
        prompts: Sequence[list[int]],
        max_new_tokens: Limits,
        decoding: Decoding = GREEDY,
        seed: int = 0,
        drafts: Drafts = None,
    ) -> list[list[Response]]:
        """As `Engine.generate`: each variant's greedy responses as it alone would give them.

        What all variants lack is taken out first. The answers of the model without it are the drafts of all variants,
        which are verified up to the first difference; it answers first or beside them, unless they are given.
        """
        if decoding.temperature or self._one_at_a_time(variants):
            return super().generate(variants, prompts, max_new_tokens, decoding, seed)
        limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else max_new_tokens
        return self._within_memory(lambda: self._generated(variants, prompts, limits, drafts))

    def _generated(
        self,
        variants: Sequence[Variant],
        prompts: Sequence[list[int]],
        most: Sequence[int],
        drafts: Drafts,
    ) -> list[list[Response]]:
        found = []
        told = None if drafts is None else [self._up_to_end(*pair) for pair in zip(drafts, most, strict=True)]
        bounds = self._within(max(len(prompt) + new for prompt, new in zip(prompts, most, strict=True)))
        with self._opened(variants) as (rows, inner):
            for some in bounds.some(inner):
                answering = Answering(rows, self._ends, bounds)
                found += answering.answers(some, prompts, most, told)
                told = [lead.tokens for lead in answering.leads]
                self.accepted += answering.accepted
                self.written += answering.written
        return [[self._made(row) for row in answers] for answers in found]

    def loglikelihoods(
        self, variants: Sequence[Variant], rows: Sequence[Continuation]
    ) -> list[list[tuple[float, bool]]]:
        """As `Engine.loglikelihoods`."""
        if self._one_at_a_time(variants):
            return self._one_by_one(variants, rows)
        return self._within_memory(lambda: self._weighed(variants, rows))

    def _one_by_one(self, variants: Sequence[Variant], rows: Sequence[Continuation]) -> list[list[tuple[float, bool]]]:
        """The log-likelihoods of one variant after another."""
        return super().loglikelihoods(variants, rows)

    def _weighed(self, variants: Sequence[Variant], rows: Sequence[Continuation]) -> list[list[tuple[float, bool]]]:
        with self._opened(variants) as (opened, inner):
            return [weighed for some in self._bounds.some(inner) for weighed in self._weigh(opened, some, rows)]

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

    @contextmanager
    def _opened(self, variants: Sequence[Variant]) -> Iterator[tuple[Rows, list[Variant]]]:
        """The model without what all variants lack, open for rows; gives the variants in its numbering."""
        common = set(variants[0]).intersection(*variants)
        with without_layers(self._model, common):
            depth = len(find_stack(self._model)) + len(common)
            left = [layer for layer in range(depth) if layer not in common]
            place = {layer: at for at, layer in enumerate(left)}
            inner = [tuple(sorted(place[layer] for layer in variant if layer not in common)) for variant in variants]
            try:
                with Rows(self._model).opened() as rows:
                    yield rows, inner
            except NonFiniteVariant as found:
                raise refusal(sorted({*common, *(left[layer] for layer in found.variant)}), self._model.dtype) from None

    @property
    def refusal(self) -> str | None:
        """Why rows of this model cannot share layers, None where they can; tried once against the model itself."""
        if self._trial is None:
            self._trial = tried(self._model)
        return self._trial.refusal

    def _one_at_a_time(self, variants: Sequence[Variant]) -> bool:
        """Whether rows cannot share layers; said once, where several variants are asked."""
        if self.refusal and len(variants) > 1 and not self._told:
            self._told = True
            print(f"note: one variant at a time, since {self.refusal}", file=sys.stderr)
        return self.refusal is not None

    def _within(self, columns: int) -> Bounds:
        """The bounds, with no more rows than memory holds keys and values of so many columns for."""
        assert self._trial is not None
        return self._bounds.at_most(_memory(self._model.device) // max(1, self._trial.token_bytes * columns))

    def _up_to_end(self, draft: Sequence[int], most: int) -> list[int]:
        end = next((at for at, token in enumerate(draft) if token in self._ends), len(draft))
        return list(draft[: min(end, most)])

    def _made(self, row: Row) -> Response:
        return self._response(row.tokens, stopped=row.finish == "stop")

    def _weigh(
        self, opened: Rows, variants: Sequence[Variant], rows: Sequence[Continuation]
    ) -> list[list[tuple[float, bool]]]:
        weighed = [[(0.0, False)] * len(rows) for _ in variants]
        texts = [(context + continuation)[:-1] for context, continuation in rows]
        lengths, asked = [len(text) for text in texts], [len(continuation) for _, continuation in rows]
        for group in passes(lengths, asked, 1 + len(variants), self._bounds):
            spans = [range(len(rows[at][0]) - 1, len(texts[at])) for at in group]
            wanted = [(v, t, p) for v in range(len(variants)) for t, span in enumerate(spans) for p in span]
            logits, _ = read(opened, [texts[at] for at in group], variants, wanted)
            tokens = torch.tensor([token for at in group for token in rows[at][1]] * len(variants))
            targets = tokens.to(logits.device)
            with naming([variants[variant] for variant, _, _ in wanted]):
                logprobs = gathered(logits, targets)
            sizes = [len(rows[at][1]) for at in group] * len(variants)
            each = zip(logprobs.split(sizes), (logits.argmax(-1) == targets).split(sizes), strict=True)
            for variant in range(len(variants)):
                for at in group:
                    values, likeliest = next(each)
                    weighed[variant][at] = (values.sum().item(), bool(likeliest.all()))
        return weighed


# The registry looks plug-ins up by the name of their file.
sweep = SweepEngine
