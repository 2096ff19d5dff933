"""Fronts against the comparison of all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.model.model_shape import load_model
from sim.codesign.accuracy import find_accuracy
from sim.codesign.front import Front, front
from sim.codesign.grid import Grid, Memory
from sim.codesign.pairs import elements, join
from sim.codesign.search import Limits, evaluated, make_space, search


def brute_force(points):
    """Return the first index of every distinct row that no other row dominates."""
    distinct, first = np.unique(points, axis=0, return_index=True)
    keep = [
        i
        for i, row in enumerate(distinct)
        if not ((distinct <= row).all(axis=1) & (distinct < row).any(axis=1)).any()
    ]
    return sorted(first[keep].tolist())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=60), st.integers(1, 7))
def test_the_front_is_that_of_all_pairs_whatever_the_blocks(rows, size):
    points = np.array(rows, float).reshape(-1, 3)
    assert front(points).tolist() == brute_force(points)
    found = Front(3)
    for start in range(0, len(points), size):
        part = points[start : start + size]
        found.add(part, np.arange(start, start + len(part)))
    assert sorted(found.numbers.tolist()) == brute_force(points)


def test_sums_that_round_alike_do_not_keep_a_dominated_row():
    # 1e17 + 1 and 1e17 + 2 round to 1e17: the dominated row is tried first.
    points = np.array([[1e17, 2.0], [1e17, 1.0], [1.0, 1e30]])
    assert front(points).tolist() == [1, 2]


def designs(count):
    """Return designs of which many are on the front, each a few times, and many are ties."""
    random = np.random.default_rng(0)
    points = random.integers(1, 10, (count, 4)).astype(float)
    points[::3] = points[random.integers(0, count, len(points[::3]))]
    points[:, 3] += np.maximum(0, 16 - points[:, :3].sum(axis=1))
    return points


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_designs_with_ties_and_duplicates(count):
    points, found = designs(count), Front(4)
    for start in range(0, len(points), 16_384):
        part = points[start : start + 16_384]
        found.add(part, np.arange(start, start + len(part)))
    expected = brute_force(points)
    assert len(expected) > 20
    assert sorted(found.numbers.tolist()) == expected


def test_the_front_with_prompts_and_buffers_is_that_of_all_pairs():
    shape = load_model("smollm2-135m")
    pairs = join(find_accuracy("embedded").rows, elements(["mixpe-w4a8-fp16", "int8-mac"]))[:6]
    grid = Grid(
        rows=(2, 8, 32),
        columns=(1, 4),
        weight_buffers_kib=(0, 16, 64),
        memories=tuple(Memory(kind="lpddr4", gb_per_s=rate) for rate in (1.6, 6.4)),
        clocks_mhz=(100.0, 300.0),
    )
    space = make_space(shape, pairs, grid, context=128, prompts=(64, 16))
    assert space.objectives[4:] == ("ttft_16_s", "ttft_64_s")
    found = search(space, Limits())
    every = [(points[ok], numbers[ok]) for numbers, points, ok in evaluated(space)]
    points, numbers = (np.concatenate(part) for part in zip(*every, strict=True))
    assert found.front.numbers.tolist() == numbers[brute_force(points)].tolist()
    # Both new axes pay: a larger buffer and a shorter prompt each keep a design on the front.
    grids = [space.grid.machine(int(n) % space.grid.size) for n in found.front.numbers]
    assert {0, 64} <= {one.weight_buffers_kib[0] for one in grids}
    assert {1, 4} <= {one.columns[0] for one in grids}
    limited = search(space, Limits(ttft_s=float(np.median(points[:, -1]))))
    assert 0 < limited.within < found.within
