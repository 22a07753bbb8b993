"""Greedy answers of many variants: rows that agree with the base follow it, those that differ come and go in a pool."""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from layerlimits.engines._finite import naming
from layerlimits.engines._lookup import Lookup
from layerlimits.engines._pool import Pool
from layerlimits.engines._rows import Rows
from layerlimits.engines._trunk import Row, Trunk, begun
from layerlimits.models.finite import likeliest
from layerlimits.types import Variant

# Logits are the largest thing a pass makes: at most this many floats, half a gigabyte.
_PASS_LOGITS = 1 << 27
# Tokens that are looked up and verified at once.
_AHEAD = 8
# A pool with fewer live rows than this share is packed anew.
_WORTH_PACKING = 0.9


# A variant, and its rows, one a prompt.
Asked = tuple[Variant, list[Row]]


@dataclass(frozen=True)
class Bounds:
    """What keeps memory and work within limits.

    Args:
        rows: answers under way.
        tokens: of all rows of a pass.
        vocabulary: its size.
        cheap: how many tokens a step takes along for next to nothing, since its fixed costs are larger.
        stretch: tokens of an answer that are verified at once, to begin with.
        together: whether the base answers beside its variants, not ahead of them.
    """

    rows: int
    tokens: int
    vocabulary: int
    cheap: int
    stretch: int
    together: bool

    def halved(self) -> "Bounds":
        """Half of what takes memory, at least one."""
        return replace(self, rows=max(1, self.rows // 2), tokens=max(1, self.tokens // 2))

    def at_most(self, rows: int) -> "Bounds":
        """The same with so many rows at most, at least one."""
        return replace(self, rows=max(1, min(rows, self.rows)))

    def some(self, variants: Sequence[Variant]) -> Iterator[Sequence[Variant]]:
        """As many variants at a time as may have a row beside the base's."""
        each = max(1, self.rows - 1)
        for start in range(0, len(variants), each):
            yield variants[start : start + each]


def passes(lengths: Sequence[int], logits: Sequence[int], rows: int, bounds: Bounds) -> Iterator[list[int]]:
    """Texts in groups of similar length that one pass takes, each in so many rows with so many logits a row."""
    group: list[int] = []
    wanted = 0
    for at in sorted(range(len(lengths)), key=lambda at: lengths[at]):
        size, wanted = (len(group) + 1) * rows, wanted + rows * logits[at]
        full = size * lengths[at] > bounds.tokens or size > bounds.rows
        if group and (full or wanted * bounds.vocabulary > _PASS_LOGITS):
            yield group
            group, wanted = [], rows * logits[at]
        group.append(at)
    if group:
        yield group


class Answering:
    """Answers of an opened model.

    Args:
        rows: the model.
        ends: tokens that end an answer.
        bounds: what memory allows.
    """

    def __init__(self, rows: Rows, ends: Collection[int], bounds: Bounds) -> None:
        self.rows, self.ends, self.bounds = rows, ends, bounds
        # Tokens taken from drafts and guesses, and tokens written one by one.
        self.accepted = self.written = 0
        self._trunks: list[Trunk] = []
        self._pool: Pool | None = None
        self._live: list[Row] = []
        # The base's answers, one a prompt.
        self.leads: list[Row] = []
        # Prompts whose variants wait for their leads.
        self._held: list[list[int]] = []

    def answers(
        self,
        variants: Sequence[Variant],
        prompts: Sequence[list[int]],
        most: Sequence[int],
        drafts: list[list[int]] | None,
    ) -> list[list[Row]]:
        """The finished answers, [variant][prompt], of at most `most` tokens each; `drafts` are followed if given,
        otherwise the base's answers, which are written beside or ahead.
        """
        self._own, self._prompts = drafts is None, prompts
        self.leads = [Row(p, len(prompt), most[p], lookup=Lookup(prompt)) for p, prompt in enumerate(prompts)]
        for lead, draft in zip(self.leads, drafts or [], strict=False):
            lead.tokens, lead.finish = draft, "stop"
            lead.lookup.extend(draft)
        self._asked: list[Asked] = [
            (
                variant,
                [
                    lead if self._own and not variant else Row(lead.prompt, lead.start, lead.most, variant)
                    for lead in self.leads
                ],
            )
            for variant in variants
        ]
        stretch = 0 if self._own and self.bounds.together else min(self.bounds.stretch, max(most))
        lengths = [len(prompt) + stretch for prompt in prompts]
        waiting = deque(passes(lengths, [1 + stretch] * len(prompts), 1 + len(variants), self.bounds))
        while waiting or self._held or self._trunks or self._live:
            self._enter(waiting)
            for trunk in [trunk for trunk in self._trunks if trunk.due()]:
                longest = max(1, _PASS_LOGITS // (self.bounds.vocabulary * len(trunk.rows)))
                self._settle(trunk, trunk.verify(self.rows, longest))
            self._leave()
            if self._live:
                self._step()
        return [rows for _, rows in self._asked]

    def _enter(self, waiting: deque[list[int]]) -> None:
        """Let prompts enter as there is room, and variants as their leads are far enough."""
        entering: list[list[int]] = []
        while waiting and self._room(sum(map(len, entering)), len(waiting[0])):
            entering.append(waiting.popleft())
        if self._own and not self.bounds.together:
            leads = [p for group in entering for p in group]
            for group in passes([len(self._prompts[p]) for p in leads], [1] * len(leads), 2, self.bounds):
                self._begin([((), self.leads)], [leads[at] for at in group])
        self._held += entering
        for group in self._held[:]:
            led = [self.leads[p] for p in group]
            far = all(lead.finish or lead.known >= self.bounds.stretch for lead in led)
            if far or self.bounds.together:
                self._held.remove(group)
                asked: list[Asked] = [((), self.leads)] if self._own and self.bounds.together else []
                asked += [pair for pair in self._asked if pair[0] or not self._own]
                # The earlier they fork, the further in front: what a layer computes is then mostly the first rows.
                asked.sort(key=lambda pair: pair[0][:1] or (len(self.rows.layers),))
                if asked:
                    self._begin(asked, group)

    def _room(self, entering: int, group: int) -> bool:
        """Whether a group of prompts more can be answered for all variants; one always can."""
        there = len(self._live) + sum(len(one.rows) for one in self._trunks)
        prompts = sum(map(len, self._held)) + entering
        return there + prompts == 0 or there + (1 + len(self._asked)) * (prompts + group) <= self.bounds.rows

    def _begin(self, asked: Sequence[Asked], group: list[int]) -> None:
        """Read prompts for variants, each with its rows; the leads' own answers are those that lack nothing."""
        leads, prompts = [self.leads[p] for p in group], [self._prompts[p] for p in group]
        following = [rows[p] for _, rows in asked for p in group]
        trunk, written = begun(
            self.rows, [variant for variant, _ in asked], leads, following, prompts, self.bounds.stretch
        )
        self._trunks.append(trunk)
        self._settle(trunk, written)

    def _settle(self, trunk: Trunk, written: list[list[int]]) -> None:
        """Let rows that differ from their leads go on by themselves."""
        agreed, apart = trunk.follow(written, self.ends)
        self.accepted += agreed
        self.written += len(apart)
        if apart:
            self._go_on(*trunk.among(apart))
            self._live += [trunk.rows[at] for at in apart]
        trunk.shrink(apart)
        if not trunk.rows:
            self._trunks.remove(trunk)

    def _go_on(self, pool: Pool, rows: Tensor) -> None:
        """Take rows into the pool of those that go on by themselves."""
        if self._pool is None:
            capacity = min(len(self._prompts) * (1 + len(self._asked)), self.bounds.rows)
            columns = 1 + max(lead.last for lead in self.leads)
            self._pool = Pool(pool.alone[:, :0], torch.empty(0, dtype=torch.long), columns, pool.device, capacity)
        self._pool.add(pool, rows)

    def _leave(self) -> None:
        """Let finished rows go, once they are many."""
        stay = [at for at, row in enumerate(self._live) if row.finish is None]
        if self._pool is not None and len(stay) < _WORTH_PACKING * len(self._live):
            self._pool.keep(torch.tensor(stay, dtype=torch.long))
            self._live = [self._live[at] for at in stay]

    def _step(self) -> None:
        """At least one token of every row; finished ones go along until the pool is packed."""
        assert self._pool is not None
        guesses = self._guesses()
        width = 1 + max(map(len, guesses))
        ids, at = [], []
        pairs = list(zip(self._live, guesses, strict=True))
        for row, guess in pairs:
            first, pads = row.start + len(row.tokens) - 1, width - 1 - len(guess)
            ids.append([row.tokens[-1], *guess, *[0] * pads])
            at.append([*range(first, first + 1 + len(guess)), *[row.last] * pads])
        seen = 1 + max(places[len(guess)] for places, guess in zip(at, guesses, strict=True))
        wanted = torch.arange(len(ids)).repeat_interleave(width), torch.arange(width).repeat(len(ids))
        device = self.rows.device
        logits = self.rows.logits(
            self._pool, torch.tensor(ids, device=device), torch.tensor(at, device=device), seen, wanted
        )
        # What padding sees means nothing.
        real = [row.finish is None and place <= len(guess) for row, guess in pairs for place in range(width)]
        with naming([row.variant for row in self._live for _ in range(width)]):
            written = likeliest(logits, torch.tensor(real, device=device)).view(len(ids), width).tolist()
        for row, guess, own in zip(self._live, guesses, written, strict=True):
            if row.finish is None:
                self._follow(row, guess, own)

    def _guesses(self) -> list[list[int]]:
        """What each row may write next; nothing where verifying it would cost more than it could save."""
        found = [self._guess(row) for row in self._live]
        size = len(self._live) * (1 + max(map(len, found)))
        few = size <= self.bounds.cheap or 2 * sum(map(bool, found)) >= len(self._live)
        return found if few and size * self.bounds.vocabulary <= _PASS_LOGITS else [[] for _ in self._live]

    def _guess(self, row: Row) -> list[int]:
        most = min(_AHEAD, row.most - len(row.tokens) - 1)
        if row.finish or most < 1:
            return []
        return row.lookup.ahead(row.tokens, most) or self.leads[row.prompt].lookup.ahead(row.tokens, most)

    def _follow(self, row: Row, guess: Sequence[int], own: Sequence[int]) -> None:
        for at, token in enumerate(own[: len(guess) + 1]):
            row.take(token, self.ends)
            if row.finish or at == len(guess) or token != guess[at]:
                self.written += 1
                break
            self.accepted += 1
