"""When tiles of a product end on a machine that loads, computes and stores: one recurrence.

A tile is loaded, then computed, then stored. Each of the three units does one tile at a time, in
order. The buffers hold the operands of ``load_slots`` tiles, so that the load of tile ``i`` waits
for the end of tile ``i - load_slots``, and the results of ``store_slots`` tiles; with none, the
array waits for its own store::

    loaded[i]   = max(loaded[i-1], computed[i - load_slots]) + load[i]
    computed[i] = max(computed[i-1], loaded[i], stored[i - store_slots]) + compute[i]
    stored[i]   = max(stored[i-1], computed[i]) + store[i]

A run of equal tiles is walked until every end moves by one amount a tile, which then holds for the
rest of the run, because the recurrence commutes with a shift of all times.
"""

from collections.abc import Iterable
from dataclasses import dataclass

#: Difference in cycles below which two shifts are equal.
SAME = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """Cycles of ``count`` equal tiles, one after another."""

    load: float
    compute: float
    store: float = 0.0
    count: int = 1
    #: Whether the load waits for all tiles before, whose shared operand it replaces.
    waits: bool = False


@dataclass(slots=True)
class _Ends:
    loaded: float
    computed: list[float]
    stored: list[float]

    def step(self, tile: Tile) -> None:
        """Run one tile."""
        start = max(self.loaded, self.computed[0])
        self.loaded = (max(start, self.computed[-1]) if tile.waits else start) + tile.load
        end = max(self.computed[-1], self.loaded)
        if not self.stored:
            self.computed = [*self.computed[1:], end + tile.compute + tile.store]
            return
        room = self.stored[0] if tile.store else 0.0
        self.computed = [*self.computed[1:], max(end, room) + tile.compute]
        if tile.store:
            last = max(self.stored[-1], self.computed[-1]) + tile.store
            self.stored = [*self.stored[1:], last]

    def times(self, tile: Tile) -> list[float]:
        """Return the ends that the next tiles like this one move."""
        return [self.loaded, *self.computed, *(self.stored if tile.store else ())]

    def shift(self, tile: Tile, by: float) -> None:
        self.loaded += by
        self.computed = [end + by for end in self.computed]
        if tile.store:
            self.stored = [end + by for end in self.stored]


def finish(tiles: Iterable[Tile], *, load_slots: int, store_slots: int) -> float:
    """Return the cycles until the last tile is stored.

    Examples
    --------
    Loads of 10 cycles behind tiles of 8: the port is busy all the time, and the last tile follows.

    >>> tiles = [Tile(load=10, compute=8, count=5)]
    >>> finish(tiles, load_slots=2, store_slots=2), finish(tiles, load_slots=1, store_slots=2)
    (58.0, 90.0)
    """
    ends = _Ends(0.0, [0.0] * load_slots, [0.0] * store_slots)
    for tile in tiles:
        left = tile.count
        while left:
            before = ends.times(tile)
            ends.step(tile)
            left -= 1
            moved = [after - old for after, old in zip(ends.times(tile), before, strict=True)]
            if left and max(moved) - min(moved) < SAME:
                ends.shift(tile, left * moved[0])
                left = 0
    return max(ends.computed[-1], *ends.stored, 0.0)
