"""Greedy decoding of many variants: rows that agree with the base follow it, rows that differ are decoded in a pool."""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from layerlimits.engines._costs import StepCosts
from layerlimits.engines._followers import Followers, Row, resumed, start_followers
from layerlimits.engines._forks import Reading, Root
from layerlimits.engines._guesses import MAX_GUESS, GuessLength
from layerlimits.engines._live import LiveRows
from layerlimits.engines._lookup import Lookup
from layerlimits.engines._recorded import RecordedRows
from layerlimits.engines._roots import Start, families, read_root
from layerlimits.engines._rows import Rows
from layerlimits.types import Variant

# A variant, and its rows, one per prompt.
VariantRows = tuple[Variant, list[Row]]


@dataclass(frozen=True)
class Bounds:
    """Limits on memory and work.

    Args:
        rows: maximum number of answers decoded at the same time.
        tokens: maximum number of tokens of all rows of a pass.
        chunk: initial number of draft tokens to verify per pass.
        together: whether the base is decoded together with its variants instead of before them.
        tree_tokens: maximum number of tokens of a tree most of whose tokens are not shared.
    """

    rows: int
    tokens: int
    chunk: int
    together: bool
    tree_tokens: int = 512

    def halved(self) -> "Bounds":
        """Half the rows and tokens, at least one of each."""
        rows, tokens, tree = (max(1, number // 2) for number in (self.rows, self.tokens, self.tree_tokens))
        return replace(self, rows=rows, tokens=tokens, tree_tokens=tree)

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
        costs: what a step costs, which decides how many guessed tokens it verifies.
        recorded: where the rows are reported.
    """

    def __init__(
        self, rows: Rows, ends: Collection[int], bounds: Bounds, costs: StepCosts, recorded: RecordedRows
    ) -> None:
        self.rows, self.ends, self.bounds, self._recorded = rows, ends, bounds, recorded
        # Tokens accepted from drafts and guesses, and tokens decoded one by one.
        self.accepted = self.written = 0
        self._followers: list[Followers] = []
        self._guess_length = GuessLength(partial(costs.seconds, len(rows.layers)), bounds.tokens)
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
        self._asked: list[VariantRows] = [
            (variant, self._new_rows(number, variant)) for number, variant in enumerate(variants)
        ]
        capacity = min(len(prompts) * (1 + len(variants)), self.bounds.rows)
        self._live = LiveRows(self.rows, 1 + max(leader.last for leader in self.leaders), capacity)
        # Rows per prompt: the base's, and those of the variants.
        self._width = 1 + sum(bool(variant) for variant in variants)
        self._starts: dict[int, Start] = {}
        waiting = deque(self._groups())
        while waiting or self._held or self._followers or self._live.rows:
            self._enter(waiting)
            if not waiting and not self._held:
                self._starts.clear()
            for followers in [followers for followers in self._followers if followers.due()]:
                max_tokens = max(1, self.bounds.tokens // len(followers.rows))
                self._settle(followers, followers.verify(self.rows, max_tokens))
                self._recorded.report()
            self._live.drop_finished()
            if self._live.rows:
                self._step()
                self._recorded.report()
        return [rows for _, rows in self._asked]

    def _groups(self) -> Iterator[list[int]]:
        """The prompts with unfinished rows, in groups that are read together after the same root."""
        prompts = [
            leader.prompt for leader in self.leaders if any(not rows[leader.prompt].finish for _, rows in self._asked)
        ]
        longest = max(leader.max_new_tokens for leader in self.leaders)
        chunk = 0 if self._base_leads and self.bounds.together else min(self.bounds.chunk, longest)
        texts = [self._prompts[prompt] for prompt in prompts]
        for family in families(texts, [len(text) - 1 for text in texts], lambda texts: sum(map(len, texts))):
            members = [prompts[index] for index in family.texts]
            lengths = [len(self._prompts[prompt]) - family.shared + chunk for prompt in members]
            self._starts |= dict.fromkeys(members, Start(self._prompts[members[0]][: family.shared]))
            for group in passes(lengths, self._width, self.bounds):
                yield [members[index] for index in group]

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
            self._begin_leaders([prompt for group in entering for prompt in group if not self.leaders[prompt].finish])
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

    def _begin_leaders(self, prompts: Sequence[int]) -> None:
        """Read prompts for the base alone, those after the same root together."""
        for start in {id(self._starts[prompt]): self._starts[prompt] for prompt in prompts}.values():
            members = [prompt for prompt in prompts if self._starts[prompt] is start]
            lengths = [len(self._prompts[prompt]) - len(start.tokens) for prompt in members]
            for indices in passes(lengths, 1, self.bounds):
                self._begin([((), self.leaders)], [members[index] for index in indices])

    def _room(self, entering: int, group: int) -> bool:
        """Whether another group of prompts can be answered by all variants; the first group always can."""
        rows = len(self._live.rows) + sum(len(followers.rows) for followers in self._followers)
        prompts = sum(map(len, self._held)) + entering
        return rows + prompts == 0 or rows + self._width * (prompts + group) <= self.bounds.rows

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
        root = self._root(self._starts[group[0]])
        followers, written = start_followers(
            self.rows, variants, leaders, following, prompts, self.bounds.chunk, reading, root
        )
        on_pass(1.0)
        self._followers.append(followers)
        self._settle(followers, written)

    def _root(self, start: Start) -> Root | None:
        """What is read of the start of some prompts, which is read now if these are the first of them."""
        if start.tokens and start.root is None:
            variants = [()] * self._base_leads + [variant for variant, _ in self._asked]
            reading = Reading(self.bounds.tokens, lambda _: self._recorded.report())
            start.root = read_root(self.rows, start.tokens, variants, reading)
        return start.root

    def _settle(self, followers: Followers, written: list[list[int]]) -> None:
        """Move rows that differ from their leaders into the pool; those that were begun before verify that first."""
        agreed, diverged = followers.follow(written, self.ends)
        self.accepted += agreed
        self.written += len(diverged)
        self._followers += resumed(followers, diverged, self.bounds.tokens)
        others = [number for number in diverged if not followers.rows[number].resumes]
        if others:
            self._live.add(*followers.in_pool(others), [followers.rows[number] for number in others])
        followers.shrink(diverged)
        if not followers.rows:
            self._followers.remove(followers)

    def _step(self) -> None:
        """Decode at least one token of every row."""
        guesses = self._guesses()
        tokens = iter(self._live.step(guesses))
        verified = []
        for number, row in enumerate(self._live.rows):
            guess = guesses.get(number, [])
            written = list(islice(tokens, 1 + len(guess)))
            if row.finish is None:
                accepted = self._accept(row, guess, written)
                if guess:
                    verified.append((len(guess), accepted))
        self._guess_length.record(verified)

    def _guesses(self) -> dict[int, list[int]]:
        """Guesses of the next tokens of rows, by the row's number, as long as it pays to verify them."""
        rows = self._live.rows
        if not self._guess_length.can_pay(len(rows)):
            return {}
        looked_up = {number: self._guess(row) for number, row in enumerate(rows)}
        guesses = {number: guess for number, guess in looked_up.items() if guess}
        length = self._guess_length.choose(len(rows), [*map(len, guesses.values())])
        return {number: guess[:length] for number, guess in guesses.items()} if length else {}

    def _guess(self, row: Row) -> list[int]:
        max_tokens = min(MAX_GUESS, row.max_new_tokens - len(row.tokens) - 1)
        if row.finish or max_tokens < 1:
            return []
        own = row.ahead(row.tokens, max_tokens)
        return own or self.leaders[row.prompt].ahead(row.tokens, max_tokens)

    def _accept(self, row: Row, guess: Sequence[int], written: Sequence[int]) -> int:
        """Append the tokens that a row writes, up to the first one that its guess did not contain.

        Returns:
            Number of tokens of the guess that were right.
        """
        right = next((place for place, token in enumerate(guess) if token != written[place]), len(guess))
        taken = 0
        while taken <= right and row.finish is None:
            row.take(written[taken], self.ends)
            taken += 1
        self.written += 1
        self.accepted += taken - 1
        return taken - 1
