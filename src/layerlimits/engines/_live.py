"""Rows that are decoded token by token. The token that each reads next, and its position, stay on the device."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from layerlimits.engines._finite import NonFiniteVariant
from layerlimits.engines._followers import Row
from layerlimits.engines._pool import Pool
from layerlimits.engines._rows import Rows
from layerlimits.models.finite import NOT_FINITE, likeliest_or_marked

# A pool is packed when fewer than this share of its rows are unfinished.
_PACK_FRAC = 0.9


class LiveRows:
    """Rows that follow no other. Finished rows are computed too until they are dropped.

    Args:
        model: the opened model.
        max_positions: number of columns that a row can need.
        capacity: number of rows to allocate memory for at once.
    """

    def __init__(self, model: Rows, max_positions: int, capacity: int) -> None:
        none, no_layers = torch.empty(0, dtype=torch.long), torch.ones(len(model.layers), 0, dtype=torch.bool)
        self._model, self._pool = model, Pool(no_layers, none, max_positions, model.device, capacity)
        self.rows: list[Row] = []
        # For each row the token to read next, its position, and the position of padding, (R, 3).
        self._state = torch.empty(0, 3, dtype=torch.long, device=model.device)

    def add(self, pool: Pool, places: Tensor, rows: Sequence[Row]) -> None:
        """Copy rows from these places of another pool; the last token of each is read next."""
        self._pool.add(pool, places)
        state = torch.tensor([(row.tokens[-1], row.start + len(row.tokens) - 1, row.last) for row in rows])
        self._state = torch.cat([self._state, state.to(self._state.device)])
        self.rows += rows

    def drop_finished(self) -> None:
        """Drop finished rows, once there are enough of them."""
        stay = [number for number, row in enumerate(self.rows) if row.finish is None]
        if len(stay) >= _PACK_FRAC * len(self.rows):
            return
        # The last rows take the places of those that are dropped: a layer that computes all rows still has them in
        # order, and need not select them.
        last = iter(number for number in stay if number >= len(stay))
        order = [place if self.rows[place].finish is None else next(last) for place in range(len(stay))]
        index = torch.tensor(order, dtype=torch.long)
        self._pool.keep(index)
        self._state = self._state.index_select(0, index.to(self._state.device))
        self.rows = [self.rows[number] for number in order]

    def step(self, guesses: Mapping[int, Sequence[int]]) -> list[int]:
        """Read the next token of every row, and the tokens that are guessed to follow it.

        Args:
            guesses: by the number of the row; rows without a guess are not in it.
        Returns:
            The tokens that each row writes after each token that it reads, one row after the other: one, and one more
            for each guessed token.
        Raises:
            NonFiniteVariant: logits of an unfinished row are not finite.
        """
        lengths, offered = self._offered(guesses)
        token, position, last = self._state.split(1, dim=1)
        guess, places = offered[:, 1:], torch.arange(offered.shape[1], device=offered.device)
        is_read = places <= offered[:, :1]
        visible = max(row.start + len(row.tokens) + len(guesses.get(number, ())) for number, row in self._unfinished())
        slices = self._model.logits(
            self._pool,
            torch.cat([token, guess], dim=1),
            torch.where(is_read, position + places, last),
            visible,
            _wanted(lengths),
        )
        flat = torch.cat([likeliest_or_marked(logits) for _, logits in slices])
        written = torch.zeros_like(offered).masked_scatter_(is_read, flat)
        agreed = ((written[:, :-1] == guess) & is_read[:, 1:]).cumprod(dim=1).sum(dim=1, keepdim=True)
        # Finished rows continue until they are dropped, at most to their last position.
        following = torch.minimum(position + agreed + 1, last)
        self._state = torch.cat([written.gather(1, agreed).clamp(min=0), following, last], dim=1)
        tokens: list[int] = flat.tolist()
        self._check(tokens, lengths)
        return tokens

    def _unfinished(self) -> list[tuple[int, Row]]:
        return [(number, row) for number, row in enumerate(self.rows) if row.finish is None]

    def _offered(self, guesses: Mapping[int, Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Length of each row's guess, (R,), on the host; and per row the length and the guess, (R, 1 + G), padded."""
        width = max(map(len, guesses.values()), default=0)
        lengths = torch.zeros(len(self.rows), dtype=torch.long)
        offered = torch.zeros(len(self.rows), 1 + width, dtype=torch.long, device=self._state.device)
        if guesses:
            padded = [(number, len(guess), *guess, *[0] * (width - len(guess))) for number, guess in guesses.items()]
            given = torch.tensor(padded)
            lengths[given[:, 0]] = given[:, 1]
            given = given.to(offered.device)
            offered.index_copy_(0, given[:, 0], given[:, 1:])
        return lengths, offered

    def _check(self, tokens: Sequence[int], lengths: Tensor) -> None:
        if NOT_FINITE in tokens:
            numbers = _wanted(lengths)[0].tolist()
            for number, token in zip(numbers, tokens, strict=True):
                if token == NOT_FINITE and self.rows[number].finish is None:
                    raise NonFiniteVariant(self.rows[number].variant)


def _wanted(lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Rows, and places in their input, of the logits that a step needs: no padding."""
    counts = 1 + lengths
    rows = torch.arange(len(counts)).repeat_interleave(counts)
    return rows, torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
