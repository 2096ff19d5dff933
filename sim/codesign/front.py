"""Exact Pareto fronts: no design is missed or kept that a comparison of all pairs would not.

All objectives are minimized. A row dominates another if it is at most as large in every objective
and smaller in one. Of equal rows the first stands for all.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64

Points = Float64[np.ndarray, "n objectives"]
Others = Float64[np.ndarray, "m objectives"]
#: Rows that are compared with all others at once.
PART = 256


def front(points: Points) -> Int64[np.ndarray, " m"]:
    """Return the indices of the distinct rows that no other row dominates, in rising order.

    Examples
    --------
    >>> front(np.array([[1.0, 2.0], [2.0, 1.0], [2.0, 2.0], [1.0, 2.0]])).tolist()
    [0, 1]
    """
    kept = _candidates(points)
    rows = points[kept]
    # Distinct rows: each is at most as large as itself, and as another one if that dominates it.
    undominated: np.ndarray = kept[_count_at_most(rows, rows) == 1]
    return undominated


def _candidates(points: Points) -> Int64[np.ndarray, " m"]:
    """Return distinct rows among which every other row has one that dominates or equals it.

    The row with the least sum removes what it dominates, again and again. Sums round, so a
    candidate may still be dominated by another one.
    """
    left = np.arange(len(points))
    columns = [np.ascontiguousarray(column) for column in points.T]
    least = [column.min(initial=np.inf) for column in columns]
    sums = sum(
        (c / low if 0 < low < np.inf else c for c, low in zip(columns, least, strict=True)),
        np.zeros(len(points)),
    )
    found: list[int] = []
    while len(left):
        best = int(np.argmin(sums))
        found.append(int(left[best]))
        keep = columns[0] < columns[0][best]
        for column in columns[1:]:
            keep |= column < column[best]
        left, sums = left[keep], sums[keep]
        columns = [column[keep] for column in columns]
    return np.sort(np.array(found, np.int64))


def _count_at_most(rows: Points, others: Others) -> Int64[np.ndarray, " n"]:
    """Return for each row how many of the others are at most as large in every objective."""
    counts = np.zeros(len(rows), np.int64)
    for start in range(0, len(rows), PART):
        part = rows[start : start + PART]
        at_most = others[None, :, 0] <= part[:, 0, None]
        for objective in range(1, rows.shape[1]):
            at_most &= others[None, :, objective] <= part[:, objective, None]
        counts[start : start + PART] = at_most.sum(axis=1)
    return counts


def is_covered(rows: Points, others: Others) -> Bool[np.ndarray, " n"]:
    """Return whether any of the others dominates or equals each row."""
    return np.asarray(_count_at_most(rows, others) > 0)


class Front:
    """The front of rows that arrive in blocks; memory grows with the front alone."""

    def __init__(self, objectives: int) -> None:
        self.points = np.empty((0, objectives))
        self.numbers = np.empty(0, np.int64)

    def add(self, points: Points, numbers: Int64[np.ndarray, " n"]) -> None:
        """Add rows with their numbers, which rise from block to block."""
        own = front(points)
        own = own[~is_covered(points[own], self.points)]
        keep = ~is_covered(self.points, points[own])
        self.points = np.concatenate([self.points[keep], points[own]])
        self.numbers = np.concatenate([self.numbers[keep], numbers[own]])
