"""Rows that still agree with the base: they follow its row and read one chunk of its answer per pass."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from layerlimits.engines._finite import likeliest_tokens
from layerlimits.engines._forks import Reading, Root, read
from layerlimits.engines._lookup import Lookup
from layerlimits.engines._pool import Pool
from layerlimits.engines._rows import Rows
from layerlimits.types import FinishReason, Variant

# If at most this share of the rows diverges, the next chunk is twice as long.
_FEW_FRAC = 0.05


@dataclass
class Row:
    """An answer being decoded, by the model without the layers of `variant`.

    Args:
        prompt: index of its prompt.
        start: length of the prompt in tokens.
        max_new_tokens: maximum length of the answer.
        tokens: the answer so far.
        finish: why the answer ended; None while it is being decoded.
        number: index of its variant in the call of the engine; None if nobody asked for the answer.
        begun: tokens that an interrupted call had written of this answer; they are verified like a draft.
        read_frac: share of the prompt that has been read.
    """

    prompt: int
    start: int
    max_new_tokens: int
    variant: Variant = ()
    tokens: list[int] = field(default_factory=list)
    finish: FinishReason | None = None
    lookup: Lookup = field(default_factory=Lookup)
    number: int | None = None
    begun: list[int] = field(default_factory=list)
    read_frac: float = 0.0
    # Number of tokens of the answer in `lookup`.
    _looked_up: int = 0

    @property
    def resumes(self) -> bool:
        """Whether there are begun tokens that continue the answer so far."""
        count = len(self.tokens)
        return count < len(self.begun) and self.tokens == self.begun[:count]

    @property
    def last(self) -> int:
        """Position of the last token of the longest possible answer. That token is never read, so its column in the
        cache is free for padding.
        """
        return self.start + self.max_new_tokens - 1

    @property
    def known(self) -> int:
        """Number of tokens that followers can read and compare: of an unfinished answer, all but the last."""
        return min(len(self.tokens) - (self.finish is None), self.max_new_tokens - 1)

    def take(self, token: int, ends: Collection[int]) -> None:
        """Append a token, or finish at an end token."""
        if token in ends:
            self.finish = "stop"
            return
        self.tokens.append(token)
        if len(self.tokens) >= self.max_new_tokens:
            self.finish = "length"

    def ahead(self, tail: Sequence[int], max_tokens: int) -> list[int]:
        """Up to `max_tokens` tokens that followed the end of `tail` here, or in the prompt if `lookup` has it."""
        self.lookup.extend(self.tokens[self._looked_up :])
        self._looked_up = len(self.tokens)
        return self.lookup.ahead(tail, max_tokens)


class Followers:
    """Leaders, which are decoded elsewhere or finished, and the rows that agree with them so far.

    Args:
        leaders: the rows that are followed.
        pool: rows of the leaders, in order, and then of their followers.
        rows: the followers.
        read: number of answer tokens of each leader that were read here.
        chunk: number of tokens to verify per pass. Longer chunks need fewer passes, and waste more work on rows that
            diverge early.
    """

    def __init__(self, leaders: list[Row], pool: Pool, rows: list[Row], read: list[int], chunk: int) -> None:
        self.leaders, self.pool, self.rows = leaders, pool, rows
        self._read, self._chunk = read, chunk

    def _pending(self) -> list[int]:
        return [max(0, leader.known - count) for leader, count in zip(self.leaders, self._read, strict=True)]

    def due(self) -> bool:
        """Whether a chunk is ready to be verified."""
        longest = max(self._pending())
        return longest >= self._chunk or (longest > 0 and all(leader.finish for leader in self.leaders))

    def verify(self, rows: Rows, max_tokens: int) -> list[list[int]]:
        """Read the next chunk, of at most `max_tokens` tokens; returns the tokens that each follower itself writes."""
        counts = [min(pending, self._chunk, max_tokens) for pending in self._pending()]
        width, ids, positions, visible = max(counts), [], [], 0
        for leader, read_count, count in zip(self.leaders, self._read, counts, strict=True):
            first, pads = leader.start + read_count, width - count
            ids.append(leader.tokens[read_count : read_count + count] + [0] * pads)
            positions.append([*range(first, first + count), *[leader.last] * pads])
            visible = max(visible, first + count)
        row_counts = [counts[leader] for leader in self._leader_numbers()]
        wanted = [(len(self.leaders) + row, place) for row, count in enumerate(row_counts) for place in range(count)]
        leader_of_row = self.pool.leader.to(rows.device)
        row_ids, row_positions = (
            torch.tensor(values, device=rows.device)[leader_of_row] for values in (ids, positions)
        )
        logits = rows.logits(self.pool, row_ids, row_positions, visible, _columns(wanted))
        self._read = [read_count + count for read_count, count in zip(self._read, counts, strict=True)]
        variants = [self.rows[row - len(self.leaders)].variant for row, _ in wanted]
        tokens = iter(likeliest_tokens(logits, variants).tolist())
        return [[next(tokens) for _ in range(count)] for count in row_counts]

    def _leader_numbers(self) -> list[int]:
        """For each follower the index of its leader."""
        numbers: list[int] = self.pool.leader[len(self.leaders) :].tolist()
        return numbers

    def follow(self, written: Sequence[Sequence[int]], ends: Collection[int]) -> tuple[int, list[int]]:
        """Compare the tokens that the followers write with their leaders.

        Returns:
            How many tokens agreed, and the followers that diverged; their last token is their own.
        """
        agreed, diverged = 0, []
        leaders = [self.leaders[number] for number in self._leader_numbers()]
        # A leader's own tokens come first: its followers are compared with them.
        for number in sorted(range(len(self.rows)), key=lambda number: self.rows[number] is not leaders[number]):
            row, leader = self.rows[number], leaders[number]
            if row.finish:
                # Its response was stored before; it shares the pass only because the batch is a grid.
                continue
            for token in written[number]:
                place = len(row.tokens)
                row.take(token, ends)
                if row is leader or place >= len(leader.tokens) or token != leader.tokens[place]:
                    diverged += [] if row.finish else [number]
                    break
                agreed += 1
                if row.finish:
                    break
        if len(diverged) <= _FEW_FRAC * len(self.rows):
            self._chunk *= 2
        return agreed, diverged

    def in_pool(self, numbers: Sequence[int]) -> tuple[Pool, Tensor]:
        """The pool, and the rows in it of these followers."""
        return self.pool, torch.tensor(numbers, dtype=torch.long) + len(self.leaders)

    def shrink(self, diverged: Sequence[int]) -> None:
        """Drop rows that finished or diverged, and leaders without followers."""
        gone, leaders = set(diverged), self._leader_numbers()
        stay = [number for number, row in enumerate(self.rows) if not row.finish and number not in gone]
        followed = sorted({leaders[number] for number in stay})
        if 0 < len(stay) < len(self.rows):
            self.pool.keep(torch.tensor([*followed, *[len(self.leaders) + number for number in stay]]))
            self.leaders = [self.leaders[number] for number in followed]
            self._read = [self._read[number] for number in followed]
        self.rows = [self.rows[number] for number in stay]


def start_followers(
    rows: Rows,
    variants: Sequence[Variant],
    leaders: list[Row],
    following: list[Row],
    prompts: Sequence[Sequence[int]],
    chunk: int,
    reading: Reading,
    root: Root | None,
) -> tuple[Followers, list[list[int]]]:
    """Read prompts, and the first chunk of the leaders' answers as far as they are known, for all variants.

    Returns:
        The followers, and the tokens that each of them, [variant][leader], writes after the prompt.
    """
    counts = [max(0, min(leader.known, chunk)) for leader in leaders]
    before = root.length if root else 0
    texts = [
        [*prompt[before:], *leader.tokens[:count]]
        for prompt, leader, count in zip(prompts, leaders, counts, strict=True)
    ]
    wanted = [
        (variant, text, place)
        for variant in range(len(variants))
        for text, leader in enumerate(leaders)
        for place in range(leader.start - 1 - before, len(texts[text]))
    ]
    logits, pool = read(rows, texts, variants, wanted, 1 + max(leader.last for leader in leaders), reading, root)
    tokens = iter(likeliest_tokens(logits, [variants[variant] for variant, _, _ in wanted]).tolist())
    written = [[next(tokens) for _ in range(1 + count)] for _ in variants for count in counts]
    return Followers(leaders, pool, following, counts, chunk), written


def resumed(followers: Followers, diverged: Sequence[int], pass_tokens: int) -> Iterator[Followers]:
    """Those rows that have diverged and were begun before an interruption: they follow their own earlier answers.

    Args:
        followers: what they followed so far.
        diverged: the rows that have diverged.
        pass_tokens: maximum number of tokens to verify per pass.
    """
    left = [number for number in diverged if followers.rows[number].resumes]
    size = max(1, pass_tokens // max((len(followers.rows[number].begun) for number in left), default=1))
    for start in range(0, len(left), size):
        pool, numbers = followers.in_pool(left[start : start + size])
        rows = [followers.rows[number] for number in left[start : start + size]]
        leaders = [
            Row(row.prompt, row.start, row.max_new_tokens, row.variant, tokens=row.begun, finish="stop") for row in rows
        ]
        # Their last token has not been read.
        read = [len(row.tokens) - 1 for row in rows]
        yield Followers(leaders, Pool.following_itself(pool, numbers), rows, read, max(1, pass_tokens // len(rows)))


def _columns(pairs: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    both = torch.tensor(pairs, dtype=torch.long).view(-1, 2)
    return both[:, 0], both[:, 1]
