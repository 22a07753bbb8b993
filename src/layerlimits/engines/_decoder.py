"""Greedy decoding of many variants: rows that agree with the base follow it, rows that differ are decoded in a pool."""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from layerlimits.engines._finite import likeliest_tokens
from layerlimits.engines._followers import Followers, Row, resumed, start_followers
from layerlimits.engines._forks import Reading
from layerlimits.engines._lookup import Lookup
from layerlimits.engines._pool import Pool
from layerlimits.engines._recorded import RecordedRows
from layerlimits.engines._rows import Rows
from layerlimits.types import Variant

# Number of guessed tokens that are verified per step.
_MAX_GUESS = 8
# A pool is packed when fewer than this share of its rows are unfinished.
_PACK_FRAC = 0.9


# A variant, and its rows, one per prompt.
VariantRows = tuple[Variant, list[Row]]


@dataclass(frozen=True)
class Bounds:
    """Limits on memory and work.

    Args:
        rows: maximum number of answers decoded at the same time.
        tokens: maximum number of tokens of all rows of a pass.
        free_tokens: number of tokens that a step can verify at almost no cost, since its fixed costs are larger.
        chunk: initial number of draft tokens to verify per pass.
        together: whether the base is decoded together with its variants instead of before them.
    """

    rows: int
    tokens: int
    free_tokens: int
    chunk: int
    together: bool

    def halved(self) -> "Bounds":
        """Half the rows and tokens, at least one of each."""
        return replace(self, rows=max(1, self.rows // 2), tokens=max(1, self.tokens // 2))

    def at_most(self, rows: int) -> "Bounds":
        """The same with at most `rows` rows, at least one."""
        return replace(self, rows=max(1, min(rows, self.rows)))

    def groups(self, variants: Sequence[Variant]) -> Iterator[Sequence[Variant]]:
        """The variants in groups that fit into `rows` together with the base."""
        size = max(1, self.rows - 1)
        for start in range(0, len(variants), size):
            yield variants[start : start + size]


def passes(lengths: Sequence[int], rows: int, bounds: Bounds) -> Iterator[list[int]]:
    """Indices of texts in groups of similar length, one group per pass.

    Args:
        lengths: tokens of each text.
        rows: how many rows read each text.
    """
    group: list[int] = []
    for text in sorted(range(len(lengths)), key=lambda text: lengths[text]):
        size = (len(group) + 1) * rows
        if group and (size * lengths[text] > bounds.tokens or size > bounds.rows):
            yield group
            group = []
        group.append(text)
    if group:
        yield group


class GreedyDecoder:
    """Decodes answers of an opened model and its variants.

    Args:
        rows: the opened model.
        ends: tokens that end an answer.
        bounds: limits on memory and work.
        recorded: where the rows are reported.
    """

    def __init__(self, rows: Rows, ends: Collection[int], bounds: Bounds, recorded: RecordedRows) -> None:
        self.rows, self.ends, self.bounds, self._recorded = rows, ends, bounds, recorded
        # Tokens accepted from drafts and guesses, and tokens decoded one by one.
        self.accepted = self.written = 0
        self._followers: list[Followers] = []
        self._pool: Pool | None = None
        self._live: list[Row] = []
        # The base's answers, one per prompt.
        self.leaders: list[Row] = []
        # Groups of prompts whose variants wait until the leaders have written enough.
        self._held: list[list[int]] = []

    def answers(
        self,
        variants: Sequence[Variant],
        prompts: Sequence[list[int]],
        max_new_tokens: Sequence[int],
        drafts: list[list[int]] | None,
    ) -> list[list[Row]]:
        """The finished answers, [variant][prompt].

        Args:
            max_new_tokens: maximum length of the answers to each prompt.
            drafts: tokens to follow, one draft per prompt; None: the base's answers, which are decoded together with
                the variants or before them.
        """
        self._base_leads, self._prompts = drafts is None, prompts
        self.leaders = [
            Row(number, len(prompt), limit, lookup=Lookup(prompt))
            for number, (prompt, limit) in enumerate(zip(prompts, max_new_tokens, strict=True))
        ]
        for leader, draft in zip(self.leaders, drafts or [], strict=False):
            leader.tokens, leader.finish = draft, "stop"
            leader.lookup.extend(draft)
        self._asked: list[VariantRows] = [
            (variant, self._new_rows(number, variant)) for number, variant in enumerate(variants)
        ]
        waiting = deque(self._groups())
        while waiting or self._held or self._followers or self._live:
            self._enter(waiting)
            for followers in [followers for followers in self._followers if followers.due()]:
                max_tokens = max(1, self.bounds.tokens // len(followers.rows))
                self._settle(followers, followers.verify(self.rows, max_tokens))
                self._recorded.report()
            self._drop_finished()
            if self._live:
                self._step()
                self._recorded.report()
        return [rows for _, rows in self._asked]

    def _groups(self) -> Iterator[list[int]]:
        """The prompts with unfinished rows, in groups that are read together."""
        prompts = [
            leader.prompt for leader in self.leaders if any(not rows[leader.prompt].finish for _, rows in self._asked)
        ]
        longest = max(leader.max_new_tokens for leader in self.leaders)
        chunk = 0 if self._base_leads and self.bounds.together else min(self.bounds.chunk, longest)
        lengths = [len(self._prompts[prompt]) + chunk for prompt in prompts]
        for group in passes(lengths, 1 + len(self._asked), self.bounds):
            yield [prompts[index] for index in group]

    def _new_rows(self, number: int, variant: Variant) -> list[Row]:
        """The rows of a variant, one per prompt; the leaders themselves where the base is asked too."""
        rows = [Row(leader.prompt, leader.start, leader.max_new_tokens, variant) for leader in self.leaders]
        if self._base_leads and not variant:
            rows = list(self.leaders)
        for row in rows:
            self._recorded.restore(row, number)
        return rows

    def _enter(self, waiting: deque[list[int]]) -> None:
        """Start prompts while there is room, and variants whose leaders have written enough."""
        entering: list[list[int]] = []
        while waiting and self._room(sum(map(len, entering)), len(waiting[0])):
            entering.append(waiting.popleft())
        if self._base_leads and not self.bounds.together:
            prompts = [prompt for group in entering for prompt in group if not self.leaders[prompt].finish]
            lengths = [len(self._prompts[prompt]) for prompt in prompts]
            for indices in passes(lengths, 2, self.bounds):
                self._begin([((), self.leaders)], [prompts[index] for index in indices])
        self._held += entering
        for group in self._held[:]:
            leaders = [self.leaders[prompt] for prompt in group]
            ready = all(leader.finish or leader.known >= self.bounds.chunk for leader in leaders)
            if ready or self.bounds.together:
                self._held.remove(group)
                asked: list[VariantRows] = [((), self.leaders)] if self._base_leads and self.bounds.together else []
                asked += [pair for pair in self._asked if pair[0] or not self._base_leads]
                # Variants that fork early come first, so that most layers compute the first rows of the batch.
                asked.sort(key=lambda pair: pair[0][:1] or (len(self.rows.layers),))
                if asked:
                    self._begin(asked, group)

    def _room(self, entering: int, group: int) -> bool:
        """Whether another group of prompts can be answered by all variants; the first group always can."""
        rows = len(self._live) + sum(len(followers.rows) for followers in self._followers)
        prompts = sum(map(len, self._held)) + entering
        return rows + prompts == 0 or rows + (1 + len(self._asked)) * (prompts + group) <= self.bounds.rows

    def _begin(self, asked: Sequence[VariantRows], group: list[int]) -> None:
        """Read the prompts of a group for those of these variants that have unfinished rows there."""
        asked = [pair for pair in asked if any(not pair[1][prompt].finish for prompt in group)]
        if not asked:
            return
        leaders, prompts = [self.leaders[prompt] for prompt in group], [self._prompts[prompt] for prompt in group]
        following = [rows[prompt] for _, rows in asked for prompt in group]
        variants = [variant for variant, _ in asked]
        self._recorded.enter(following)

        def on_pass(share: float) -> None:
            for row in following:
                row.read_frac = share
            self._recorded.report()

        reading = Reading(self.bounds.tokens, on_pass)
        followers, written = start_followers(
            self.rows, variants, leaders, following, prompts, self.bounds.chunk, reading
        )
        on_pass(1.0)
        self._followers.append(followers)
        self._settle(followers, written)

    def _settle(self, followers: Followers, written: list[list[int]]) -> None:
        """Move rows that differ from their leaders into the pool; those that were begun before verify that first."""
        agreed, diverged = followers.follow(written, self.ends)
        self.accepted += agreed
        self.written += len(diverged)
        self._followers += resumed(followers, diverged, self.bounds.tokens)
        others = [number for number in diverged if not followers.rows[number].resumes]
        if others:
            self._add_to_pool(*followers.in_pool(others))
            self._live += [followers.rows[number] for number in others]
        followers.shrink(diverged)
        if not followers.rows:
            self._followers.remove(followers)

    def _add_to_pool(self, pool: Pool, rows: Tensor) -> None:
        """Copy rows into the pool of rows that follow no other."""
        if self._pool is None:
            capacity = min(len(self._prompts) * (1 + len(self._asked)), self.bounds.rows)
            max_positions = 1 + max(leader.last for leader in self.leaders)
            none = torch.empty(0, dtype=torch.long)
            self._pool = Pool(pool.has_layer[:, :0], none, max_positions, pool.device, capacity)
        self._pool.add(pool, rows)

    def _drop_finished(self) -> None:
        """Drop finished rows from the pool, once there are enough of them."""
        stay = [number for number, row in enumerate(self._live) if row.finish is None]
        if self._pool is not None and len(stay) < _PACK_FRAC * len(self._live):
            self._pool.keep(torch.tensor(stay, dtype=torch.long))
            self._live = [self._live[number] for number in stay]

    def _step(self) -> None:
        """Decode at least one token of every row; finished rows are computed too until the pool is packed."""
        assert self._pool is not None
        guesses = self._guesses()
        width = 1 + max(map(len, guesses))
        ids, positions = [], []
        pairs = list(zip(self._live, guesses, strict=True))
        for row, guess in pairs:
            first, pads = row.start + len(row.tokens) - 1, width - 1 - len(guess)
            ids.append([row.tokens[-1], *guess, *[0] * pads])
            positions.append([*range(first, first + 1 + len(guess)), *[row.last] * pads])
        visible = 1 + max(places[len(guess)] for places, guess in zip(positions, guesses, strict=True))
        wanted = torch.arange(len(ids)).repeat_interleave(width), torch.arange(width).repeat(len(ids))
        device = self.rows.device
        logits = self.rows.logits(
            self._pool, torch.tensor(ids, device=device), torch.tensor(positions, device=device), visible, wanted
        )
        # Logits at padding are meaningless.
        real = [row.finish is None and place <= len(guess) for row, guess in pairs for place in range(width)]
        variants = [row.variant for row in self._live for _ in range(width)]
        tokens = likeliest_tokens(logits, variants, torch.tensor(real, device=device)).view(len(ids), width).tolist()
        for row, guess, written in zip(self._live, guesses, tokens, strict=True):
            if row.finish is None:
                self._accept(row, guess, written)

    def _guesses(self) -> list[list[int]]:
        """A guess of the next tokens of each row; empty where verifying it would cost more than it can save."""
        guesses = [self._guess(row) for row in self._live]
        size = len(self._live) * (1 + max(map(len, guesses)))
        pays = size <= self.bounds.free_tokens or 2 * sum(map(bool, guesses)) >= len(self._live)
        return guesses if pays else [[] for _ in self._live]

    def _guess(self, row: Row) -> list[int]:
        max_tokens = min(_MAX_GUESS, row.max_new_tokens - len(row.tokens) - 1)
        if row.finish or max_tokens < 1:
            return []
        own = row.lookup.ahead(row.tokens, max_tokens)
        return own or self.leaders[row.prompt].lookup.ahead(row.tokens, max_tokens)

    def _accept(self, row: Row, guess: Sequence[int], written: Sequence[int]) -> None:
        """Append the tokens that a row writes, up to the first one that its guess did not contain."""
        for place, token in enumerate(written[: len(guess) + 1]):
            row.take(token, self.ends)
            if row.finish or place == len(guess) or token != guess[place]:
                self.written += 1
                break
            self.accepted += 1
