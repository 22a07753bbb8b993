"""Greedy answers of many variants: drafts verified in one pass, then rows that come and go in a pool."""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from layerlimits.engines._forks import Variant, forked
from layerlimits.engines._lookup import Lookup
from layerlimits.engines._pool import Pool, joined, step
from layerlimits.engines._rows import Rows
from layerlimits.types import FinishReason

# Logits are the largest thing a pass makes: at most this many floats, half a gigabyte.
_PASS_LOGITS = 1 << 27
# Tokens that are looked up and verified at once, and how many a step takes along for next to nothing: its fixed costs
# are larger.
_AHEAD = 8
_CHEAP_TOKENS = 512
# A pool with fewer live rows than this share is packed anew.
_WORTH_PACKING = 0.75


@dataclass(frozen=True)
class Bounds:
    """What keeps memory within limits: answers under way, tokens of all rows of a pass, and size of the vocabulary."""

    rows: int
    tokens: int
    vocabulary: int

    def halved(self) -> "Bounds":
        """Half of either, at least one."""
        return Bounds(max(1, self.rows // 2), max(1, self.tokens // 2), self.vocabulary)


@dataclass
class Row:
    """An answer under way."""

    variant: int
    prompt: int
    start: int
    tokens: list[int] = field(default_factory=list)
    finish: FinishReason | None = None


def passes(texts: Sequence[Sequence[int]], variants: int, bounds: Bounds) -> Iterator[list[int]]:
    """The texts in groups of similar length that one pass takes for all variants."""
    group: list[int] = []
    for at in sorted(range(len(texts)), key=lambda at: len(texts[at])):
        size = (len(group) + 1) * (1 + variants)
        full = size * len(texts[at]) > bounds.tokens or size > bounds.rows
        if group and (full or size * len(texts[at]) * bounds.vocabulary > _PASS_LOGITS):
            yield group
            group = []
        group.append(at)
    if group:
        yield group


class Answering:
    """Answers with an opened model.

    Args:
        rows: the model.
        ends: tokens that end an answer.
        bounds: what memory allows.
    """

    def __init__(self, rows: Rows, ends: Collection[int], bounds: Bounds) -> None:
        self.rows, self.ends, self.bounds = rows, ends, bounds
        # Tokens taken from drafts and guesses, and tokens written one by one.
        self.accepted = self.written = 0

    def answers(
        self, variants: Sequence[Variant], prompts: Sequence[list[int]], most: int, drafts: list[list[int]] | None
    ) -> list[list[Row]]:
        """The finished answers, [variant][prompt], of at most `most` tokens; `drafts` are tried first if given."""
        rows = [[Row(v, p, len(prompt)) for p, prompt in enumerate(prompts)] for v in range(len(variants))]
        texts = [prompt + (drafts[p] if drafts else []) for p, prompt in enumerate(prompts)]
        lookups = [Lookup(text) for text in texts]
        waiting = deque(passes(texts, len(variants), self.bounds))
        pool: Pool | None = None
        live: list[Row] = []
        while waiting or live:
            fresh: list[tuple[Pool, list[Row]]] = []
            while waiting and len(live) + sum(len(new) for _, new in fresh) <= self.bounds.rows // 2:
                entered = self._enter(variants, texts, waiting.popleft(), rows, most)
                fresh += [entered] if entered else []
            if fresh or len([row for row in live if row.finish is None]) < _WORTH_PACKING * len(live):
                pool, live = self._packed(pool, live, fresh)
            if live and pool is not None:
                self._step(pool, live, lookups, most)
                if all(row.finish for row in live):
                    pool, live = None, []
        return rows

    def _enter(
        self,
        variants: Sequence[Variant],
        texts: Sequence[list[int]],
        group: list[int],
        rows: Sequence[Sequence[Row]],
        most: int,
    ) -> tuple[Pool, list[Row]] | None:
        """Read prompts with their drafts; what differs from its draft, or has none, goes on from there."""
        chosen = [(variant, text) for variant in range(len(variants)) for text in range(len(group))]
        spans = [(rows[v][group[t]].start - 1, len(texts[group[t]])) for v, t in chosen]
        wanted = [(v, t, at) for (v, t), span in zip(chosen, spans, strict=True) for at in range(*span)]
        logits, left = forked(self.rows, [texts[at] for at in group], variants, wanted)
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

    def _accept(self, row: Row, draft: list[int], predicted: Iterator[int], most: int) -> None:
        """Follow the draft up to the first difference; the prediction there is the row's own."""
        own = [next(predicted) for _ in range(len(draft) + 1)]
        agreed = next((at for at, token in enumerate(draft) if own[at] != token), len(draft))
        row.tokens = draft[:agreed]
        self.accepted += agreed
        if agreed >= most:
            row.finish = "length"
        else:
            self._take(row, own[agreed], most)

    def _take(self, row: Row, token: int, most: int) -> None:
        self.written += 1
        if token in self.ends:
            row.finish = "stop"
            return
        row.tokens.append(token)
        if len(row.tokens) >= most:
            row.finish = "length"

    @staticmethod
    def _packed(
        pool: Pool | None, live: list[Row], fresh: Sequence[tuple[Pool, list[Row]]]
    ) -> tuple[Pool | None, list[Row]]:
        """The rows still under way, with the new ones."""
        stay = [at for at, row in enumerate(live) if row.finish is None]
        parts = [(pool, torch.tensor(stay))] if pool is not None and stay else []
        parts += [(new, torch.arange(new.size)) for new, _ in fresh]
        left = [live[at] for at in stay] + [row for _, rows in fresh for row in rows]
        return (joined(parts) if parts else None), left

    def _step(self, pool: Pool, live: Sequence[Row], lookups: Sequence[Lookup], most: int) -> None:
        """At least one token of every row; finished ones go along until the pool is packed."""
        guesses = self._guesses(live, lookups, most)
        width = 1 + max(map(len, guesses))
        ids, at = [], []
        for row, guess in zip(live, guesses, strict=True):
            first, pads = row.start + len(row.tokens) - 1, width - 1 - len(guess)
            ids.append([row.tokens[-1], *guess, *[0] * pads])
            # The place of the last token an answer may have: it is never read, so nothing sees what stands there.
            at.append([*range(first, first + 1 + len(guess)), *[row.start + most - 1] * pads])
        seen = 1 + max(places[len(guess)] for places, guess in zip(at, guesses, strict=True))
        device = self.rows.device
        logits = step(self.rows, pool, torch.tensor(ids, device=device), torch.tensor(at, device=device), seen)
        for row, guess, own in zip(live, guesses, logits.argmax(-1).tolist(), strict=True):
            if row.finish is None:
                self._follow(row, guess, own, most)

    def _guesses(self, live: Sequence[Row], lookups: Sequence[Lookup], most: int) -> list[list[int]]:
        """What each row may write next; nothing where verifying it would cost more than it could save."""
        found = [
            [] if row.finish else lookups[row.prompt].ahead(row.tokens, min(_AHEAD, most - len(row.tokens) - 1))
            for row in live
        ]
        size = len(live) * (1 + max(map(len, found)))
        few = size <= _CHEAP_TOKENS or 2 * sum(map(bool, found)) >= len(live)
        fits = size * self.bounds.vocabulary <= _PASS_LOGITS
        return found if few and fits else [[] for _ in live]

    def _follow(self, row: Row, guess: Sequence[int], own: Sequence[int], most: int) -> None:
        for at, token in enumerate(own[: len(guess) + 1]):
            self._take(row, token, most)
            if row.finish or at == len(guess) or token != guess[at]:
                break
            self.accepted += 1
