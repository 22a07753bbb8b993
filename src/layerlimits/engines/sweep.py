"""All variants of a model in one batch: rows of different variants share every layer that both have.

`_pool.py` explains how the rows of a batch share work.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import psutil
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.engines import UNRECORDED, Likelihood, Recorder
from layerlimits.engines._allocator import keep_freed_memory
from layerlimits.engines._costs import StepCosts, measure
from layerlimits.engines._decoder import Bounds, GreedyDecoder
from layerlimits.engines._finite import NonFiniteVariant
from layerlimits.engines._followers import Row
from layerlimits.engines._likelihoods import shared_loglikelihoods
from layerlimits.engines._recorded import RecordedRows
from layerlimits.engines._rows import Rows
from layerlimits.engines._trial import Trial, run_trial
from layerlimits.engines.transformers import TransformersEngine
from layerlimits.errors import UserError
from layerlimits.models.finite import refusal
from layerlimits.models.remove import without_layers
from layerlimits.models.stack import find_stack
from layerlimits.resources import is_out_of_memory
from layerlimits.types import GREEDY, Continuation, Decoding, Drafts, Limits, Response, Variant

Answers = TypeVar("Answers")

# Tokens per pass: enough to use the hardware well, few enough to need little padding.
_PASS_TOKENS = 8192
# On a CPU, a pass takes a few seconds, so that an interruption loses little: floating-point operations of a pass that
# reads, and of one that decodes a token of every row. Fewer tokens or rows than the others do not use a CPU fully; more
# rows are only unfinished for longer. Of the rows that may exist, a third is decoded at a time; the others follow.
_PASS_WORK, _FULL_TOKENS = 2e11, 256
_STEP_WORK, _FULL_ROWS = 4e11, 64
# Minimum number of draft tokens to verify per pass. Passes of a small model have fixed costs: if a layer has fewer
# weights than `_SMALL`, the base answers before its variants, and more tokens are verified per pass.
_CHUNK = 8
_SMALL = 1_000_000


def _bounds(model: PreTrainedModel, max_rows: int) -> Bounds:
    weights = sum(weight.numel() for weight in find_stack(model).layers[-1].parameters())
    chunk = max(_CHUNK, _CHUNK * _SMALL // weights)
    tokens = _PASS_TOKENS
    if model.device.type == "cpu":
        token_work = 2 * sum(weight.numel() for weight in model.parameters())
        tokens = min(tokens, max(_FULL_TOKENS, int(_PASS_WORK / token_work)))
        max_rows = min(max_rows, max(_FULL_ROWS, int(_STEP_WORK / token_work)))
    return Bounds(max_rows, tokens, chunk, together=chunk == _CHUNK)


def _memory(device: torch.device) -> int:
    """Memory that keys and values can take, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // 2
    return int(psutil.virtual_memory().available) // 4


class SweepEngine(TransformersEngine):
    """Greedy answers and log-likelihoods of many variants in one batch; samples as `TransformersEngine` does.

    Args:
        max_rows: maximum number of answers decoded at the same time; fewer if memory is short, or if a CPU is busy with
            fewer rows of this model.
        costs: what a step costs; None: measured when it is first needed.
    """

    # The answer of a row depends on the other rows only by rounding.
    joins_batches = True

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_rows: int = 2048,
        costs: StepCosts | None = None,
    ) -> None:
        super().__init__(model, tokenizer)
        if model.device.type == "cpu":
            keep_freed_memory()
        self._bounds, self._costs = _bounds(model, max_rows), costs
        # Tokens accepted from drafts and guesses, and tokens decoded one by one.
        self.accepted = self.written = 0
        self._trial: Trial | None = None
        self._noted = False

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
        """As `Engine.generate`: the greedy responses that each variant alone would give.

        Layers that are removed in all variants are taken out first. The answers of the model without them serve as
        drafts for all variants, and are accepted up to the first difference. That model answers before its variants or
        together with them, unless drafts are given.
        """
        if decoding.temperature or self._needs_one_at_a_time(variants):
            return super().generate(variants, prompts, max_new_tokens, decoding, seed, recorder=recorder)
        limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else max_new_tokens
        return self._within_memory(lambda: self._generate(variants, prompts, limits, drafts, recorder))

    def _generate(
        self,
        variants: Sequence[Variant],
        prompts: Sequence[list[int]],
        max_new_tokens: Sequence[int],
        drafts: Drafts,
        recorder: Recorder,
    ) -> list[list[Response]]:
        answers: list[list[Row]] = []
        pairs = None if drafts is None else zip(drafts, max_new_tokens, strict=True)
        cut_drafts = None if pairs is None else [self._up_to_end(draft, limit) for draft, limit in pairs]
        longest = max(len(prompt) + limit for prompt, limit in zip(prompts, max_new_tokens, strict=True))
        bounds = self._bounds_for(longest)
        self._costs = self._costs or measure(self._model)
        with self._opened(variants) as (rows, inner):
            for group in bounds.groups(inner):
                recorded = RecordedRows(recorder, self._row_response, len(answers))
                decoder = GreedyDecoder(rows, self._ends, bounds, self._costs, recorded)
                answers += decoder.answers(group, prompts, max_new_tokens, cut_drafts)
                cut_drafts = [leader.tokens for leader in decoder.leaders]
                self.accepted += decoder.accepted
                self.written += decoder.written
        return [[self._row_response(row) for row in column] for column in answers]

    def _row_response(self, row: Row) -> Response:
        return self._response(row.tokens, stopped=row.finish == "stop")

    def loglikelihoods(
        self, variants: Sequence[Variant], rows: Sequence[Continuation], recorder: Recorder = UNRECORDED
    ) -> list[list[Likelihood]]:
        """As `Engine.loglikelihoods`."""
        if self._needs_one_at_a_time(variants):
            return self._one_by_one(variants, rows, recorder)
        return self._within_memory(lambda: self._grouped_loglikelihoods(variants, rows, recorder))

    def _one_by_one(
        self, variants: Sequence[Variant], rows: Sequence[Continuation], recorder: Recorder
    ) -> list[list[Likelihood]]:
        """The log-likelihoods, computed one variant at a time."""
        return super().loglikelihoods(variants, rows, recorder)

    def _grouped_loglikelihoods(
        self, variants: Sequence[Variant], rows: Sequence[Continuation], recorder: Recorder
    ) -> list[list[Likelihood]]:
        columns: list[list[Likelihood]] = []
        with self._opened(variants) as (opened, inner):
            assert self._trial is not None
            trees = self._trial.trees
            for group in self._bounds.groups(inner):
                columns += shared_loglikelihoods(opened, group, rows, self._bounds, recorder, len(columns), trees=trees)
        return columns

    def _within_memory(self, compute: Callable[[], Answers]) -> Answers:
        """The result of `compute`, which is called again with half the rows each time memory runs out.

        Raises:
            UserError: memory is too small for one row.
        """
        while True:
            try:
                return compute()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            if self._bounds.rows == 1:
                raise UserError(
                    "not enough memory for one response of this model",
                    "use a smaller dtype (--dtype) or another device (--device)",
                )
            self._bounds = self._bounds.halved()
            print(f"note: out of memory; continuing with at most {self._bounds.rows} rows at a time", file=sys.stderr)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    @contextmanager
    def _opened(self, variants: Sequence[Variant]) -> Iterator[tuple[Rows, list[Variant]]]:
        """The opened model without the layers that are removed in all variants, and the variants in its numbering."""
        common = set(variants[0]).intersection(*variants)
        with without_layers(self._model, common):
            depth = len(find_stack(self._model)) + len(common)
            layers = [layer for layer in range(depth) if layer not in common]
            number = {layer: index for index, layer in enumerate(layers)}
            inner = [tuple(sorted(number[layer] for layer in variant if layer not in common)) for variant in variants]
            try:
                with Rows(self._model).opened() as rows:
                    yield rows, inner
            except NonFiniteVariant as error:
                removed = sorted({*common, *(layers[index] for index in error.variant)})
                raise refusal(removed, self._model.dtype) from None

    @property
    def row_limit(self) -> int:
        """Maximum number of answers decoded at the same time; it becomes smaller when memory runs out."""
        return self._bounds.rows

    @property
    def refusal(self) -> str | None:
        """Why rows of this model cannot share layers; None if they can. The first call runs a trial on the model."""
        if self._trial is None:
            self._trial = run_trial(self._model)
        return self._trial.refusal

    def _needs_one_at_a_time(self, variants: Sequence[Variant]) -> bool:
        """Whether rows cannot share layers; prints a note the first time that several variants are given."""
        if self.refusal and len(variants) > 1 and not self._noted:
            self._noted = True
            print(f"note: running one variant at a time, because {self.refusal}", file=sys.stderr)
        return self.refusal is not None

    def _bounds_for(self, positions: int) -> Bounds:
        """The bounds, with no more rows than memory has room for, at `positions` keys and values per row."""
        assert self._trial is not None
        return self._bounds.at_most(_memory(self._model.device) // max(1, self._trial.token_bytes * positions))

    def _up_to_end(self, draft: Sequence[int], max_tokens: int) -> list[int]:
        end = next((place for place, token in enumerate(draft) if token in self._ends), len(draft))
        return list(draft[: min(end, max_tokens)])


# The registry looks plug-ins up by the name of their file.
sweep = SweepEngine
