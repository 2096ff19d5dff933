"""Fronts against the comparison of all pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.codesign.front import Front, front


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
