"""Keys and values of the rows that are being decoded: for each layer those of the rows that keep it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from layerlimits.engines._rows import Call, Rows

Filled = tuple[Tensor, Tensor]


class Pool:
    """Rows that decode together; row r's key of position t stands in column t.

    Args:
        kept: True where a row computes a layer, (L, R).
        keys, values: for each layer, of the rows that keep it, (n, H, T, D); None where no row does. There is room to
            write once the pool went through `joined`.
        columns: how many columns every row may come to need.
    """

    def __init__(
        self, kept: Tensor, keys: Sequence[Tensor | None], values: Sequence[Tensor | None], columns: int
    ) -> None:
        self.kept = kept
        self.columns = columns
        self.keys = list(keys)
        self.values = list(values)
        self._rows = [None if bool(layer.all()) else layer.nonzero()[:, 0] for layer in kept]

    @property
    def size(self) -> int:
        """How many rows there are."""
        return self.kept.shape[1]

    def rows(self, layer: int) -> Tensor | None:
        """The rows that compute a layer; None for all."""
        return self._rows[layer]

    def write(self, layer: int, at: Tensor, seen: int, keys: Tensor, values: Tensor) -> Filled:
        """Put the keys and values (n, H, Q, D) of the layer's rows into columns `at` (n, Q); what they attend to is the
        first `seen` columns.
        """
        own_keys, own_values = self.keys[layer], self.values[layer]
        assert own_keys is not None
        assert own_values is not None
        each = torch.arange(at.shape[0], device=at.device)[:, None]
        own_keys[each, :, at] = keys.transpose(1, 2)
        own_values[each, :, at] = values.transpose(1, 2)
        return own_keys[:, :, :seen], own_values[:, :, :seen]

    def of(self, layer: int, rows: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Keys and values of those of the rows that keep the layer."""
        places = self.kept[layer].cumsum(0) - 1
        mine = places[rows[self.kept[layer, rows]]]
        keys, values = self.keys[layer], self.values[layer]
        return (None if keys is None else keys[mine], None if values is None else values[mine])


def joined(parts: Sequence[tuple[Pool, Tensor]]) -> Pool:
    """One pool of the rows chosen of each, one after another."""
    columns = max(pool.columns for pool, _ in parts)
    kept = torch.cat([pool.kept[:, rows] for pool, rows in parts], dim=1)
    keys, values = [], []
    for layer in range(kept.shape[0]):
        chosen = [pool.of(layer, rows) for pool, rows in parts]
        keys.append(_stacked([one[0] for one in chosen], columns))
        values.append(_stacked([one[1] for one in chosen], columns))
    return Pool(kept, keys, values, columns)


def step(rows: Rows, pool: Pool, ids: Tensor, at: Tensor, seen: int) -> Tensor:
    """The logits (R, Q, V) after each of the tokens `ids` (R, Q) at positions `at` (R, Q) of all rows, which look at
    the first `seen` columns.
    """

    def queries(layer: int) -> Tensor:
        mine = pool.rows(layer)
        return at if mine is None else at[mine]

    places = torch.arange(at.numel(), device=at.device)
    call = Call(
        enter=lambda layer, hidden: hidden,
        rows=pool.rows,
        write=lambda layer, keys, values: pool.write(layer, queries(layer), seen, keys, values),
        queries=queries,
        columns=seen,
        wanted=(places // at.shape[1], places % at.shape[1]),
    )
    return rows.logits(ids, at, call).view(*at.shape, -1)


def _stacked(parts: Sequence[Tensor | None], columns: int) -> Tensor | None:
    """The parts one below the other, each with so many columns; those beyond its own are zero, since what is masked
    must still be a number.
    """
    there = [part for part in parts if part is not None and len(part)]
    if not there:
        return None
    heads, width = there[0].shape[1], there[0].shape[3]
    whole = there[0].new_empty(sum(map(len, there)), heads, columns, width)
    start = 0
    for part in there:
        rows, filled = whole[start : start + len(part)], min(columns, part.shape[2])
        # A longer text of the same pass, which is finished, may have left more columns than these rows will need.
        rows[:, :, :filled] = part[:, :, :filled]
        rows[:, :, filled:] = 0
        start += len(part)
    return whole
