"""The rows of a batch: which layers each row computes, and per layer the keys and values of the rows that compute it.

Rows of the base model and of its variants share a batch. A variant equals the base up to its first removed layer. While
the text of a row equals the text of its leader (the base's row for the same prompt), the leader computes those layers
for both. At the row's first removed layer the row forks: it copies the residual stream of its leader and continues
alone.

    layer    base           without 1      without 3
             prompt
      0      ########       .              .              computed once, by the leader, for all rows
      1      ########  +--  skipped        .              "without 1" forks here: it copies the stream
      2      ########       ########       .
      3      ########  +-----------------  skipped        "without 3" forks here; before it had no rows of its own
      4      ########       ########       ########
      head   |              |              |
             t1             t1             t1             both variants agree with the base and keep following it

             base writes    without 1      without 3
             t2 t3 ... t9   t2 x           t2 t3 ... t9   one pass verifies a chunk of the base's answer for all
                               |                          followers, with the same forks
                               v
             rows that differ, and the base itself, are decoded token by token in one batch;
             each layer computes the rows that have it, and stores keys and values for those rows only

Storage: the key of position t is in column t of its row, for every row. Texts of any length share a batch without
padding on the left, and columns left by a rejected draft are masked until they are overwritten.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

KeysAndValues = tuple[Tensor, Tensor]
Storage = list[Tensor | None]


class Pool:
    """Rows that are computed together. L is the number of layers, R the number of rows.

    Args:
        has_layer: True where the variant of a row has a layer, (L, R).
        leader: for each row the row it follows, or itself, (R,).
        max_positions: number of columns that a row can need; 0 if keys and values are not stored.
        device: where the rows are computed.
        capacity: number of rows to allocate memory for at once.
    """

    def __init__(
        self, has_layer: Tensor, leader: Tensor, max_positions: int, device: torch.device, capacity: int = 0
    ) -> None:
        self.has_layer, self.leader, self.max_positions = has_layer, leader, max_positions
        self.device, self._capacity = device, capacity
        # Number of columns that contain keys and values of at least one row.
        self.filled = 0
        depth = has_layer.shape[0]
        self.keys: Storage = [None] * depth
        self.values: Storage = [None] * depth
        self._update_forks()
        # For each layer its rows, in the order in which their keys are stored.
        self._orders = [layer.nonzero()[:, 0] for layer in self.computed]
        self._update_rows()

    @classmethod
    def following_itself(cls, pool: "Pool", rows: Tensor) -> "Pool":
        """Copies of n rows of a pool, and n rows of the same variants, each of which follows its copy."""
        copies = cls(pool.has_layer[:, :0], rows[:0], pool.max_positions, pool.device, len(rows))
        copies.add(pool, rows)
        copies.has_layer = copies.has_layer.repeat(1, 2)
        copies.leader = torch.arange(len(rows)).repeat(2)
        copies._update_forks()
        copies._update_rows()
        return copies

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.has_layer.shape[1]

    @property
    def row_bytes(self) -> int:
        """Memory of the keys and values of a row that has every layer, in bytes."""
        stored = [storage for storage in (*self.keys, *self.values) if storage is not None]
        return sum(storage[0].nbytes for storage in stored) * len(self.keys) * 2 // max(1, len(stored))

    def _update_forks(self) -> None:
        """Work out which rows compute each layer, and which rows fork there."""
        depth, size = self.has_layer.shape
        follows = self.leader != torch.arange(size)
        # The first layer that only one of a row and its leader has; for a leader, the last layer where a row forks.
        same = self.has_layer == self.has_layer[:, self.leader]
        first = torch.where(same.all(0), depth, same.int().argmin(0))
        needed = torch.full((size,), -1).scatter_reduce(0, self.leader[follows], first[follows], "amax")
        layers = torch.arange(depth)[:, None]
        # Where a row itself computes a layer, (L, R).
        self.computed = self.has_layer & (~follows | (layers >= first)) & ((needed < 0) | (layers < needed))
        forks = [(follows & (first == layer)).nonzero()[:, 0] for layer in range(depth)]
        rows, leaders = _moved(forks, self.device), _moved([self.leader[fork] for fork in forks], self.device)
        self._forks = [pair if len(pair[0]) else None for pair in zip(rows, leaders, strict=True)]
        # A row with the same layers as its leader never forks: its final state is the leader's.
        self.end = torch.where(follows & (first == depth), self.leader, torch.arange(size))

    def _update_rows(self) -> None:
        # Layers that compute the same rows in the same order share one index, so that a pass selects them once.
        keys = [order.numpy().tobytes() for order in self._orders]
        different = dict(zip(keys, self._orders, strict=True))
        moved = zip(different.items(), _moved([*different.values()], self.device), strict=True)
        indices = {key: _slice_of(order, index) for (key, order), index in moved}
        self._rows = [indices[key] for key in keys]
        longest = max(map(len, self._orders), default=0)
        self._numbers = torch.arange(longest, device=self.device)[:, None]

    def rows(self, layer: int) -> Tensor | slice:
        """The rows that compute a layer, in the order in which their keys are stored."""
        return self._rows[layer]

    def count(self, layer: int) -> int:
        """Number of rows that compute a layer."""
        return len(self._orders[layer])

    def enter(self, layer: int, hidden: Tensor) -> Tensor:
        """The residual stream before a layer, (R, Q, D); rows that fork here get the stream of their leader."""
        forks = self._forks[layer]
        return hidden if forks is None else hidden.index_copy_(0, forks[0], hidden.index_select(0, forks[1]))

    def write(self, layer: int, positions: Tensor, visible: int, keys: Tensor, values: Tensor) -> KeysAndValues:
        """Store keys and values of a layer's rows, and return the ones to attend to.

        Args:
            positions: columns to write, (n, Q), or (1, Q) for texts that are read from their start.
            visible: number of columns to return.
            keys, values: (n, H, Q, D) for the n rows that compute the layer.
        Returns:
            Keys and values of the first `visible` columns, (n, H, visible, D).
        """
        if positions.shape[0] == 1 and positions.shape[1] == visible:
            if self.max_positions:
                self.keys[layer], self.values[layer] = keys, values
            return keys, values
        stored = self._put(self.keys, layer, positions, keys), self._put(self.values, layer, positions, values)
        return stored[0][:, :, :visible], stored[1][:, :, :visible]

    def _put(self, storage: Storage, layer: int, positions: Tensor, new: Tensor) -> Tensor:
        stored = self._allocated(storage, layer, new, len(new))[: len(new)]
        stored[self._numbers[: len(new)], :, positions] = new.transpose(1, 2)
        return stored

    def _allocated(self, storage: Storage, layer: int, like: Tensor, rows: int) -> Tensor:
        """The keys or values of a layer, enlarged if needed to hold `rows` rows and all columns."""
        stored = storage[layer]
        if stored is None or len(stored) < rows or stored.shape[2] < self.max_positions:
            # Memory that no row uses yet is not touched.
            capacity = max(rows, self._capacity)
            larger = like.new_empty(capacity, like.shape[1], self.max_positions, like.shape[3])
            if stored is not None:
                count, used = min(rows, len(stored)), min(self.filled, stored.shape[2])
                _fill(larger[:count], stored[:count], used)
            stored = storage[layer] = larger
        return stored

    def places(self, layer: int, rows: Tensor) -> Tensor:
        """Where a layer stores the keys of these rows, which all have it: before its fork, a row uses its leader's."""
        order = self._orders[layer]
        place = torch.empty(self.size, dtype=torch.long).scatter_(0, order, torch.arange(len(order)))
        return place[torch.where(self.computed[layer, rows], rows, self.leader[rows])]

    def add(self, pool: "Pool", rows: Tensor) -> None:
        """Copy rows of another pool into this one, where they follow no other row."""
        before, used = self.size, min(self.max_positions, pool.filled)
        self.has_layer = torch.cat([self.has_layer, pool.has_layer[:, rows]], dim=1)
        self.leader = torch.cat([self.leader, torch.arange(before, before + len(rows))])
        self._update_forks()
        added = [computed[before:].nonzero()[:, 0] for computed in self.computed]
        self._copy(pool, [rows[new] for new in added], [*map(len, self._orders)], used)
        self._orders = [torch.cat([order, before + new]) for order, new in zip(self._orders, added, strict=True)]
        self.filled = max(self.filled, used)
        self._update_rows()

    def start_from(self, pool: "Pool", rows: Tensor) -> None:
        """Fill the first columns of all rows with those of another pool.

        Args:
            pool: rows with as many layers.
            rows: for each row the row there that computes the same layers, or follows a row that does, (R,).
        """
        self._copy(pool, [rows[order] for order in self._orders], [0] * len(self._orders), pool.filled)
        self.filled = pool.filled

    def _copy(self, pool: "Pool", rows: Sequence[Tensor], firsts: Sequence[int], used: int) -> None:
        """Copy the first `used` columns of another pool.

        Args:
            rows: for each layer the rows of the other pool.
            firsts: for each layer the place where the first of them is stored.
        """
        places = _moved([pool.places(layer, chosen) for layer, chosen in enumerate(rows)], self.device)
        for layer, (place, first) in enumerate(zip(places, firsts, strict=True)):
            for storage, others in ((self.keys, pool.keys), (self.values, pool.values)):
                source = others[layer]
                if source is not None and len(place):
                    stored = self._allocated(storage, layer, source, first + len(place))
                    _select_into(stored[first : first + len(place)], source, place, used)

    def following(self, layer: int, keys: Tensor, values: Tensor) -> KeysAndValues:
        """The stored keys and values of a layer's rows, followed by these, which are not stored."""
        if not self.filled:
            return keys, values
        stored_keys, stored_values = self.keys[layer], self.values[layer]
        assert stored_keys is not None
        assert stored_values is not None
        count = len(keys)
        return torch.cat([stored_keys[:count], keys], dim=2), torch.cat([stored_values[:count], values], dim=2)

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these, which take this order. The leader of a row must stay with it."""
        number = torch.full((self.size,), -1).scatter_(0, rows, torch.arange(len(rows)))
        self.has_layer, self.leader = self.has_layer[:, rows], number[self.leader[rows]]
        self._update_forks()
        moves = [self._moves(layer, number) for layer in range(len(self._orders))]
        holes, movers = (_moved([move[end] for move in moves], self.device) for end in (0, 1))
        for layer, (hole, mover) in enumerate(zip(holes, movers, strict=True)):
            for stored in (self.keys[layer], self.values[layer]):
                if stored is not None and len(hole):
                    filled = stored[:, :, : self.filled]
                    filled.index_copy_(0, hole, filled.index_select(0, mover))
        self._update_rows()

    def _moves(self, layer: int, number: Tensor) -> tuple[Tensor, Tensor]:
        """Update the order of a layer's rows; returns the places that become free and the places that move there.

        Args:
            number: for each row before its number now, or -1, (R,).
        """
        order = number[self._orders[layer]]
        stays = order >= 0
        if self.size:
            stays &= self.computed[layer, order.clamp(min=0)]
        count = int(stays.sum())
        # Rows at the end move into the places that were freed.
        holes, movers = (~stays[:count]).nonzero()[:, 0], stays[count:].nonzero()[:, 0] + count
        order[holes] = order[movers]
        self._orders[layer] = order[:count]
        return holes, movers


def _slice_of(order: Tensor, index: Tensor) -> Tensor | slice:
    """The first rows as a slice, which copies nothing; other rows by their index on the device."""
    return slice(len(order)) if torch.equal(order, torch.arange(len(order))) else index


def _moved(parts: Sequence[Tensor], device: torch.device) -> Sequence[Tensor]:
    """One-dimensional tensors on a device, copied there at once."""
    return torch.cat([*parts]).to(device).split([*map(len, parts)]) if parts else []


def _select_into(target: Tensor, source: Tensor, places: Tensor, used: int) -> None:
    """Copy the first `used` columns of these rows, and zero the others: masked values must still be numbers."""
    torch.index_select(source[:, :, :used], 0, places, out=target[:, :, :used])
    target[:, :, used:] = 0


def _fill(target: Tensor, source: Tensor, used: int) -> None:
    """Copy the first `used` columns and zero the others: masked values must still be numbers."""
    target[..., :used, :] = source[..., :used, :]
    target[..., used:, :] = 0
