"""Rows under way: which layers each computes, and for each layer the keys and values of the rows that compute it.

A variant is the base up to the first layer it lacks. As long as a row's text is also its lead's text, the lead computes
those layers for both: the row follows it, and forks from it there.
"""

import torch
from torch import Tensor

Filled = tuple[Tensor, Tensor]
Storage = list[Tensor | None]


class Pool:
    """Rows that are computed together; row r's key of position t stands in column t.

    Args:
        alone: True where a row's variant has a layer, (L, R).
        lead: for each row the one it follows, itself where it follows none, (R,).
        columns: how many columns a row may come to need; 0 where nothing is to be kept.
        device: where the rows are computed.
        capacity: room for so many rows is made at once.
    """

    def __init__(self, alone: Tensor, lead: Tensor, columns: int, device: torch.device, capacity: int = 0) -> None:
        self.alone, self.lead, self.columns, self.device, self._capacity = alone, lead, columns, device, capacity
        # Columns that something was written to.
        self.filled = 0
        depth = alone.shape[0]
        self.keys: Storage = [None] * depth
        self.values: Storage = [None] * depth
        self._arrange()
        # The rows of a layer, in the order in which their keys stand.
        self._orders = [layer.nonzero()[:, 0] for layer in self.kept]
        self._number()

    @property
    def size(self) -> int:
        """How many rows there are."""
        return self.alone.shape[1]

    @property
    def row_bytes(self) -> int:
        """What the keys and values of a row that has every layer take."""
        there = [stored for stored in (*self.keys, *self.values) if stored is not None]
        return sum(stored[0].nbytes for stored in there) * len(self.keys) * 2 // max(1, len(there))

    def _arrange(self) -> None:
        """Which rows compute a layer, and which fork where."""
        depth, size = self.alone.shape
        follows = self.lead != torch.arange(size)
        # The first layer that only one of a row and its lead has, and for a lead the last at which a row forks from it.
        same = self.alone == self.alone[:, self.lead]
        first = torch.where(same.all(0), depth, same.int().argmin(0))
        needed = torch.full((size,), -1).scatter_reduce(0, self.lead[follows], first[follows], "amax")
        layers = torch.arange(depth)[:, None]
        self.kept = self.alone & (~follows | (layers >= first)) & ((needed < 0) | (layers < needed))
        forks = [(follows & (first == layer)).nonzero()[:, 0] for layer in range(depth)]
        self._forks = [(rows.to(self.device), self.lead[rows].to(self.device)) if len(rows) else None for rows in forks]
        # What lacks the same as its lead never forks: at the end the lead's row stands for it.
        self.end = torch.where(follows & (first == depth), self.lead, torch.arange(size))

    def _number(self) -> None:
        self._rows = [self._picked(order) for order in self._orders]

    def _picked(self, order: Tensor) -> Tensor | slice:
        # A view where it can be one: nothing is copied.
        first = torch.equal(order, torch.arange(len(order)))
        return slice(len(order)) if first else order.to(self.device)

    def rows(self, layer: int) -> Tensor | slice:
        """The rows that compute a layer, in the order in which their keys stand."""
        return self._rows[layer]

    def count(self, layer: int) -> int:
        """How many rows compute a layer."""
        return len(self._orders[layer])

    def enter(self, layer: int, hidden: Tensor) -> Tensor:
        """The stream (R, Q, W) before a layer; rows that fork here get their lead's."""
        forks = self._forks[layer]
        return hidden if forks is None else hidden.index_copy_(0, forks[0], hidden.index_select(0, forks[1]))

    def write(self, layer: int, at: Tensor, seen: int, keys: Tensor, values: Tensor) -> Filled:
        """Keep the keys and values (n, H, Q, D) of the layer's rows in columns `at` (n, Q), or (1, Q) for texts read
        from their start; what they attend to is the first `seen` columns.
        """
        if at.shape[0] == 1 and at.shape[1] == seen:
            if self.columns:
                self.keys[layer], self.values[layer] = keys, values
            return keys, values
        stored = self._put(self.keys, layer, at, keys), self._put(self.values, layer, at, values)
        return stored[0][:, :, :seen], stored[1][:, :, :seen]

    def _put(self, storage: Storage, layer: int, at: Tensor, new: Tensor) -> Tensor:
        stored = self._room(storage, layer, new, len(new))[: len(new)]
        stored[torch.arange(len(new), device=at.device)[:, None], :, at] = new.transpose(1, 2)
        return stored

    def _room(self, storage: Storage, layer: int, like: Tensor, rows: int) -> Tensor:
        """A layer's keys or values, with room for so many rows and all columns."""
        stored = storage[layer]
        if stored is None or len(stored) < rows or stored.shape[2] < self.columns:
            # Memory that no row uses yet is not touched.
            room = max(rows, self._capacity)
            larger = like.new_empty(room, like.shape[1], self.columns, like.shape[3])
            if stored is not None:
                there, used = min(rows, len(stored)), min(self.filled, stored.shape[2])
                _fill(larger[:there], stored[:there], used)
            stored = storage[layer] = larger
        return stored

    def places(self, layer: int, rows: Tensor) -> Tensor:
        """Where the keys of rows that have the layer stand: before its fork, a row's are its lead's."""
        order = self._orders[layer]
        place = torch.empty(self.size, dtype=torch.long).scatter_(0, order, torch.arange(len(order)))
        return place[torch.where(self.kept[layer, rows], rows, self.lead[rows])]

    def add(self, pool: "Pool", rows: Tensor) -> None:
        """Take in rows of another pool, which from here on follow none."""
        before = self.size
        self.alone = torch.cat([self.alone, pool.alone[:, rows]], dim=1)
        self.lead = torch.cat([self.lead, torch.arange(before, before + len(rows))])
        self._arrange()
        used = min(self.columns, pool.filled)
        for layer, order in enumerate(self._orders):
            mine = self.kept[layer, before:].nonzero()[:, 0]
            places = pool.places(layer, rows[mine]).tolist()
            for storage, others in ((self.keys, pool.keys), (self.values, pool.values)):
                source = others[layer]
                if source is None or not places:
                    continue
                stored = self._room(storage, layer, source, len(order) + len(places))
                for to, place in enumerate(places, len(order)):
                    _fill(stored[to], source[place], used)
            self._orders[layer] = torch.cat([order, before + mine])
        self.filled = max(self.filled, used)
        self._number()

    def keep(self, rows: Tensor) -> None:
        """Let all rows but these go, which take this order; with a row its lead must stay."""
        number = torch.full((self.size,), -1).scatter_(0, rows, torch.arange(len(rows)))
        self.alone, self.lead = self.alone[:, rows], number[self.lead[rows]]
        self._arrange()
        for layer, before in enumerate(self._orders):
            order = number[before]
            stays = (order >= 0) & self.kept[layer, order.clamp(min=0)] if len(rows) else order >= 0
            left = int(stays.sum())
            # The last ones move to where the first ones left.
            holes, movers = (~stays[:left]).nonzero()[:, 0], stays[left:].nonzero()[:, 0] + left
            for stored in (self.keys[layer], self.values[layer]):
                for to, place in zip(holes.tolist(), movers.tolist(), strict=True):
                    assert stored is not None
                    stored[to, :, : self.filled] = stored[place, :, : self.filled]
            order[holes] = order[movers]
            self._orders[layer] = order[:left]
        self._number()


def _fill(room: Tensor, source: Tensor, used: int) -> None:
    """Copy the first columns, and zero the rest: what is masked must still be a number."""
    room[..., :used, :] = source[..., :used, :]
    room[..., used:, :] = 0
