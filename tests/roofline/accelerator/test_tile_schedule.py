"""The recurrence of tiles against a walk over events, and jumps against single steps."""

import random

import pytest

from roofline.accelerator.tile_schedule import Tile, finish


def walked(tiles, *, load_slots, store_slots):
    """Return the last end by the three sums over lists, one tile at a time."""
    loaded, computed, stored = [], [], []
    for tile in tiles:
        for _ in range(tile.count):
            free = computed[-load_slots] if len(computed) >= load_slots else 0
            if tile.waits:
                free = max([free, *computed])
            loaded.append(max(loaded[-1] if loaded else 0, free) + tile.load)
            start = max(computed[-1] if computed else 0, loaded[-1])
            if not store_slots:
                computed.append(start + tile.compute + tile.store)
                continue
            if tile.store and len(stored) >= store_slots:
                start = max(start, stored[-store_slots])
            computed.append(start + tile.compute)
            if tile.store:
                stored.append(max([computed[-1], *stored]) + tile.store)
    return max([*computed, *stored, 0])


@pytest.mark.parametrize("load_slots", [1, 2, 4])
@pytest.mark.parametrize("store_slots", [0, 1, 2])
def test_jumps_over_equal_tiles_equal_a_walk_over_all(load_slots, store_slots):
    rng = random.Random(load_slots * 8 + store_slots)
    for _ in range(60):
        tiles = [
            Tile(
                load=rng.randrange(9),
                compute=rng.randrange(9),
                store=rng.choice([0, 0, rng.randrange(1, 9)]),
                count=rng.choice([1, 2, 17]),
                waits=rng.random() < 0.2,
            )
            for _ in range(4)
        ]
        slots = {"load_slots": load_slots, "store_slots": store_slots}
        assert finish(tiles, **slots) == walked(tiles, **slots)


def test_a_long_run_is_not_walked():
    tiles = [Tile(load=3, compute=5, store=4, count=10**9)]
    assert finish(tiles, load_slots=2, store_slots=2) == 3 + 5 * 10**9 + 4
