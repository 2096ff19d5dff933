"""Which results nothing else beats."""

import math
from collections.abc import Sequence

from sim.report.kinds import holds_source_grid, is_reference, keeps_weights
from sim.sweep.result import PointResult


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points (cost, loss) that no other point beats, cheapest first.

    A point is beaten by one that is as good in both and better in one.

    Examples
    --------
    >>> pareto_front([(4.0, 0.2), (8.0, 0.0), (4.5, 0.3), (4.0, 0.1)])
    [3, 1]
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: points[i]):
        if not front or points[index][1] < points[front[-1]][1]:
            front.append(index)
    return front


def best(results: Sequence[PointResult]) -> list[PointResult]:
    """Return the results that nothing beats in bits per weight and loss, the fewest bits first.

    A loss below zero counts as zero: it is noise of the sample, and more bits don't win by it.
    What :func:`candidates` leaves out is left out.
    """
    points = candidates(results)
    front = pareto_front([(p.bits_per_weight, max(p.delta_nats, 0.0)) for p in points])
    return [points[index] for index in front]


def candidates(results: Sequence[PointResult]) -> list[PointResult]:
    """Return the results that bits per weight can rank.

    These have quantized weights that are not on the grid of their source already.
    Where there are none such, all but the float model and what has no finite loss.
    """
    compared = [p for p in results if not is_reference(p) and math.isfinite(p.delta_nats)]
    ranked = [p for p in compared if not keeps_weights(p) and not holds_source_grid(p)]
    return ranked or compared
