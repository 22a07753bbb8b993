"""Rows that still write what the base writes: they follow its row, a stretch of its answer at a time."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from layerlimits.engines._finite import naming
from layerlimits.engines._forks import read
from layerlimits.engines._lookup import Lookup
from layerlimits.engines._pool import Pool
from layerlimits.engines._rows import Rows
from layerlimits.models.finite import likeliest
from layerlimits.types import FinishReason, Variant

# Where at most this share of the rows differs, the next stretch is twice as long.
_FEW = 0.05


@dataclass
class Row:
    """An answer under way, of `most` tokens at most, by the model without the layers of `variant`."""

    prompt: int
    start: int
    most: int
    variant: Variant = ()
    tokens: list[int] = field(default_factory=list)
    finish: FinishReason | None = None
    lookup: Lookup = field(default_factory=Lookup)

    @property
    def last(self) -> int:
        """The place of the last token it may have: that is never read, so nothing sees what stands there."""
        return self.start + self.most - 1

    @property
    def known(self) -> int:
        """How many tokens can be read and what comes after them compared; after the last one nothing is known yet."""
        return min(len(self.tokens) - (self.finish is None), self.most - 1)

    def take(self, token: int, ends: Collection[int]) -> None:
        """Write one token on."""
        if token in ends:
            self.finish = "stop"
            return
        self.tokens.append(token)
        self.lookup.extend([token])
        if len(self.tokens) >= self.most:
            self.finish = "length"


class Trunk:
    """Leads, which are under way elsewhere or done, and the rows that agree with them so far.

    Args:
        leads: what is followed.
        pool: rows of the leads, in order, and then of those that follow them.
        rows: those that follow.
        read: how many tokens of its answer each lead has read here.
        stretch: how many tokens to verify at once: more cost fewer passes, and more work for rows that differ early.
    """

    def __init__(self, leads: list[Row], pool: Pool, rows: list[Row], read: list[int], stretch: int) -> None:
        self.leads, self.pool, self.rows = leads, pool, rows
        self._read, self._stretch = read, stretch

    def _pending(self) -> list[int]:
        return [max(0, lead.known - done) for lead, done in zip(self.leads, self._read, strict=True)]

    def due(self) -> bool:
        """Whether a stretch is there to be verified."""
        most = max(self._pending())
        return most >= self._stretch or (most > 0 and all(lead.finish for lead in self.leads))

    def verify(self, rows: Rows, longest: int) -> list[list[int]]:
        """Read the next stretch, of at most `longest` tokens; what each following row writes at its places itself."""
        counts = [min(there, self._stretch, longest) for there in self._pending()]
        width, ids, at, seen = max(counts), [], [], 0
        for lead, done, count in zip(self.leads, self._read, counts, strict=True):
            first, pads = lead.start + done, width - count
            ids.append(lead.tokens[done : done + count] + [0] * pads)
            at.append([*range(first, first + count), *[lead.last] * pads])
            seen = max(seen, first + count)
        mine = [counts[lead] for lead in self._lead()]
        wanted = [(len(self.leads) + row, place) for row, count in enumerate(mine) for place in range(count)]
        followed = self.pool.lead.to(rows.device)
        told = [torch.tensor(one, device=rows.device)[followed] for one in (ids, at)]
        logits = rows.logits(self.pool, told[0], told[1], seen, _columns(wanted))
        self._read = [done + count for done, count in zip(self._read, counts, strict=True)]
        with naming([self.rows[row - len(self.leads)].variant for row, _ in wanted]):
            own = iter(likeliest(logits).tolist())
        return [[next(own) for _ in range(count)] for count in mine]

    def _lead(self) -> list[int]:
        found: list[int] = self.pool.lead[len(self.leads) :].tolist()
        return found

    def follow(self, own: Sequence[Sequence[int]], ends: Collection[int]) -> tuple[int, list[int]]:
        """Compare what the rows write themselves with their leads.

        Returns:
            How many tokens were the lead's, and the rows that go on by themselves, from the token they wrote last.
        """
        agreed, apart = 0, []
        leads = [self.leads[lead] for lead in self._lead()]
        # What a lead writes itself comes first: the others are compared with it.
        for place in sorted(range(len(self.rows)), key=lambda at: self.rows[at] is not leads[at]):
            row, lead = self.rows[place], leads[place]
            for token in own[place]:
                at = len(row.tokens)
                row.take(token, ends)
                if row is lead or at >= len(lead.tokens) or token != lead.tokens[at]:
                    apart += [] if row.finish else [place]
                    break
                agreed += 1
                if row.finish:
                    break
        if len(apart) <= _FEW * len(self.rows):
            self._stretch *= 2
        return agreed, apart

    def among(self, places: Sequence[int]) -> tuple[Pool, Tensor]:
        """Where following rows are."""
        return self.pool, torch.tensor(places, dtype=torch.long) + len(self.leads)

    def shrink(self, apart: Sequence[int]) -> None:
        """Leave out rows that are done or go on by themselves, and leads that nothing follows."""
        gone, leads = set(apart), self._lead()
        stay = [at for at, row in enumerate(self.rows) if not row.finish and at not in gone]
        led = sorted({leads[at] for at in stay})
        if 0 < len(stay) < len(self.rows):
            self.pool.keep(torch.tensor([*led, *[len(self.leads) + at for at in stay]]))
            self.leads, self._read = [self.leads[at] for at in led], [self._read[at] for at in led]
        self.rows = [self.rows[at] for at in stay]


def begun(
    rows: Rows,
    variants: Sequence[Variant],
    leads: list[Row],
    following: list[Row],
    prompts: Sequence[Sequence[int]],
    stretch: int,
) -> tuple[Trunk, list[list[int]]]:
    """Read prompts, and the first stretch of the leads' answers where it is known, for all variants; what each row,
    [variant][lead], writes after the prompt itself.
    """
    counts = [max(0, min(lead.known, stretch)) for lead in leads]
    texts = [[*prompt, *lead.tokens[:count]] for prompt, lead, count in zip(prompts, leads, counts, strict=True)]
    wanted = [
        (variant, text, place)
        for variant in range(len(variants))
        for text, lead in enumerate(leads)
        for place in range(lead.start - 1, len(texts[text]))
    ]
    logits, pool = read(rows, texts, variants, wanted, 1 + max(lead.last for lead in leads))
    with naming([variants[variant] for variant, _, _ in wanted]):
        own = iter(likeliest(logits).tolist())
    written = [[next(own) for _ in range(1 + count)] for _ in variants for count in counts]
    return Trunk(leads, pool, following, counts, stretch), written


def _columns(pairs: Sequence[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    both = torch.tensor(pairs, dtype=torch.long).view(-1, 2)
    return both[:, 0], both[:, 1]
