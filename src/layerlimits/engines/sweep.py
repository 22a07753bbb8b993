"""All variants of one model in one batch: rows of different variants share every layer that both keep."""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.engines._forks import Variant, forked
from layerlimits.engines._pool import Pool, joined, step
from layerlimits.engines._rows import Rows
from layerlimits.engines._trial import refusal
from layerlimits.engines.transformers import transformers
from layerlimits.errors import UserError
from layerlimits.models.remove import without_layers
from layerlimits.models.stack import find_stack
from layerlimits.types import Continuation, FinishReason, Response

Answer = TypeVar("Answer")

# A pass is wide enough for the arithmetic, and narrow enough to pad little.
_PASS_TOKENS = 8192
# Logits are the largest thing a pass makes: at most this many floats, half a gigabyte.
_PASS_LOGITS = 1 << 27
# A pool with fewer live rows than this share is packed anew.
_WORTH_PACKING = 0.75


@dataclass
class _Row:
    """An answer under way."""

    variant: int
    prompt: int
    start: int
    tokens: list[int] = field(default_factory=list)
    finish: FinishReason | None = None


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
        self.max_rows, self.pass_tokens = max_rows, _PASS_TOKENS
        self.accepted = self.written = 0
        self._rows = Rows(model)
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
        with self._opened(variants) as inner:
            if drafts is None:
                drafts = [row.tokens for row in self._answers([()], prompts, most, None)[0]]
            found = self._answers(inner, prompts, most, [list(draft) for draft in drafts])
        return [[self._made(row) for row in rows] for rows in found]

    def loglikelihoods_many(self, variants: Sequence[Variant], rows: Sequence[Continuation]) -> list[list[float]]:
        """Log-probability of every continuation after its context, in nats, [variant][row]."""
        if not self._fits():
            return [
                self._alone(variant, lambda: [weight for weight, _ in self.loglikelihoods(rows)])
                for variant in variants
            ]
        return self._within_memory(lambda: self._weighed(variants, rows))

    def _weighed(self, variants: Sequence[Variant], rows: Sequence[Continuation]) -> list[list[float]]:
        with self._opened(variants) as inner:
            return self._weigh(inner, rows)

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
            if self.max_rows == 1:
                raise UserError(
                    "memory does not suffice for one answer of this model", "use a smaller --dtype, or another device"
                )
            self.max_rows //= 2
            self.pass_tokens = max(1, self.pass_tokens // 2)
            print(f"note: memory is short: {self.max_rows} rows at a time from here on", file=sys.stderr)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _alone(self, variant: Variant, ask: Callable[[], Answer]) -> Answer:
        with without_layers(self._model, variant):
            return ask()

    @contextmanager
    def _opened(self, variants: Sequence[Variant]) -> Iterator[list[Variant]]:
        """The model without what all variants lack, open for rows; gives the variants in its numbering."""
        common = set(variants[0]).intersection(*variants)
        with without_layers(self._model, common):
            depth = len(find_stack(self._model)) + len(common)
            left = [layer for layer in range(depth) if layer not in common]
            place = {layer: at for at, layer in enumerate(left)}
            self._rows = Rows(self._model)
            with self._rows.opened():
                yield [tuple(sorted(place[layer] for layer in variant if layer not in common)) for variant in variants]

    def _fits(self) -> bool:
        """Whether rows of this model can share layers: tried once against the model itself."""
        if not self._checked:
            self._checked = True
            self.refusal = refusal(self._model)
            if self.refusal:
                print(f"note: one variant at a time, since {self.refusal}", file=sys.stderr)
        return self.refusal is None

    def _made(self, row: _Row) -> Response:
        return self._response(row.tokens, stopped=row.finish == "stop")

    def _answers(
        self, variants: Sequence[Variant], prompts: Sequence[list[int]], most: int, drafts: list[list[int]] | None
    ) -> list[list[_Row]]:
        rows = [[_Row(v, p, len(prompt)) for p, prompt in enumerate(prompts)] for v in range(len(variants))]
        texts = [prompt + (drafts[p] if drafts else []) for p, prompt in enumerate(prompts)]
        waiting = deque(self._passes(texts, len(variants)))
        pool: Pool | None = None
        live: list[_Row] = []
        while waiting or live:
            fresh: list[tuple[Pool, list[_Row]]] = []
            while waiting and len(live) + sum(len(new) for _, new in fresh) <= self.max_rows // 2:
                entered = self._enter(variants, texts, waiting.popleft(), rows, most)
                fresh += [entered] if entered else []
            if fresh or len([row for row in live if row.finish is None]) < _WORTH_PACKING * len(live):
                pool, live = self._packed(pool, live, fresh)
            if live and pool is not None:
                self._step(pool, live, most)
                if all(row.finish for row in live):
                    pool, live = None, []
        return rows

    def _passes(self, texts: Sequence[list[int]], variants: int) -> Iterator[list[int]]:
        """The texts in groups of similar length that one pass takes for all variants."""
        group: list[int] = []
        for at in sorted(range(len(texts)), key=lambda at: len(texts[at])):
            size = (len(group) + 1) * (1 + variants)
            full = size * len(texts[at]) > self.pass_tokens or size > self.max_rows
            if group and (full or size * len(texts[at]) * self._model.config.vocab_size > _PASS_LOGITS):
                yield group
                group = []
            group.append(at)
        if group:
            yield group

    def _enter(
        self,
        variants: Sequence[Variant],
        texts: Sequence[list[int]],
        group: list[int],
        rows: Sequence[Sequence[_Row]],
        most: int,
    ) -> tuple[Pool, list[_Row]] | None:
        """Read prompts with their drafts; what differs from its draft, or has none, goes on from there."""
        chosen = [(variant, text) for variant in range(len(variants)) for text in range(len(group))]
        spans = [(rows[v][group[t]].start - 1, len(texts[group[t]])) for v, t in chosen]
        wanted = [(v, t, at) for (v, t), span in zip(chosen, spans, strict=True) for at in range(*span)]
        logits, left = forked(self._rows, [texts[at] for at in group], variants, wanted)
        predicted = iter(logits.argmax(-1).tolist())
        going = []
        for variant, text in chosen:
            row = rows[variant][group[text]]
            self._accept(row, texts[group[text]][row.start :], predicted, most)
            if row.finish is None:
                going.append((variant, text))
        if not going:
            return None
        live = [rows[variant][group[text]] for variant, text in going]
        return left.pool(going, max(row.start for row in live) + most), live

    def _accept(self, row: _Row, draft: list[int], predicted: Iterator[int], most: int) -> None:
        """Follow the draft up to the first difference; the prediction there is the row's own."""
        own = [next(predicted) for _ in range(len(draft) + 1)]
        agreed = next((at for at, token in enumerate(draft) if own[at] != token), len(draft))
        row.tokens = draft[:agreed]
        self.accepted += agreed
        if agreed >= most:
            row.finish = "length"
        else:
            self._take(row, own[agreed], most)

    def _take(self, row: _Row, token: int, most: int) -> None:
        self.written += 1
        if token in self._ends:
            row.finish = "stop"
            return
        row.tokens.append(token)
        if len(row.tokens) >= most:
            row.finish = "length"

    @staticmethod
    def _packed(
        pool: Pool | None, live: list[_Row], fresh: Sequence[tuple[Pool, list[_Row]]]
    ) -> tuple[Pool | None, list[_Row]]:
        """The rows still under way, with the new ones."""
        stay = [at for at, row in enumerate(live) if row.finish is None]
        parts = [(pool, torch.tensor(stay))] if pool is not None and stay else []
        parts += [(new, torch.arange(new.size)) for new, _ in fresh]
        left = [live[at] for at in stay] + [row for _, rows in fresh for row in rows]
        return (joined(parts) if parts else None), left

    def _step(self, pool: Pool, live: Sequence[_Row], most: int) -> None:
        """One token of every row; finished ones go along until the pool is packed."""
        ids = torch.tensor([[row.tokens[-1]] for row in live], device=self._rows.device)
        at = torch.tensor([[row.start + len(row.tokens) - 1] for row in live], device=self._rows.device)
        for row, token in zip(live, step(self._rows, pool, ids, at).argmax(-1).tolist(), strict=True):
            if row.finish is None:
                self._take(row, token, most)

    def _weigh(self, variants: Sequence[Variant], rows: Sequence[Continuation]) -> list[list[float]]:
        found = [[0.0] * len(rows) for _ in variants]
        texts = [(context + continuation)[:-1] for context, continuation in rows]
        for group in self._passes(texts, len(variants)):
            spans = [range(len(rows[at][0]) - 1, len(texts[at])) for at in group]
            wanted = [(v, t, p) for v in range(len(variants)) for t, span in enumerate(spans) for p in span]
            logits, _ = forked(self._rows, [texts[at] for at in group], variants, wanted)
            targets = torch.tensor([token for at in group for token in rows[at][1]] * len(variants))
            each = logits.float().log_softmax(-1).gather(1, targets.to(logits.device)[:, None])[:, 0]
            sums = iter(part.sum().item() for part in each.split([len(rows[at][1]) for at in group] * len(variants)))
            for variant in range(len(variants)):
                for at in group:
                    found[variant][at] = next(sums)
        return found
