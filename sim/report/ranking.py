"""The order of a report's points: by KL divergence to the float model, with ties.

KL is compared and not loss, because its error over windows is about ten times smaller: a format may
lower the loss of a sample by chance, but it cannot move towards the float model by chance. Two
points are compared on the same windows by a paired t test; claims over several formats are
corrected by Holm's procedure. What the test cannot separate is a tie. With fewer than
``MIN_WINDOWS`` windows there is no test, and points are ordered by their means.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sim.report.kinds import holds_source_grid, is_reference, keeps_weights
from sim.sweep.result import PointResult
from sim.sweep.statistics import CONFIDENCE, holm, paired_p_value

#: Bits per weight within which two formats may be compared as equally large.
LIKE_BITS = 0.1
LEVEL = 1 - CONFIDENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A point and its place among the others."""

    point: PointResult
    on_front: bool
    #: Recipe of the point on the front that this one ties with; empty where there is none.
    tied_with: str
    #: Whether this run asked for it; other points come from the store.
    is_new: bool


def rank(results: Sequence[PointResult], earlier: Sequence[PointResult] = ()) -> list[Row]:
    """Return the points by KL divergence, each with its place."""
    points = by_kl([*results, *earlier])
    ranked = candidates(points)
    on_front = front(ranked)
    tied = _ties(ranked, on_front)
    return [
        Row(
            point=point,
            on_front=_is_in(point, on_front),
            tied_with=tied.get(id(point), ""),
            is_new=_is_in(point, results),
        )
        for point in points
    ]


def by_kl(results: Iterable[PointResult]) -> list[PointResult]:
    """Sort by KL divergence, the float model first, infinite and NaN last."""
    return sorted(
        results,
        key=lambda p: (not is_reference(p), math.isnan(p.kl_mean), p.kl_mean, p.bits_per_weight),
    )


def candidates(results: Iterable[PointResult]) -> list[PointResult]:
    """Return the points that bits per weight can rank.

    These have quantized weights that are not on the grid of their source already. Where there are
    none, all but the float model and points without a finite KL divergence.
    """
    compared = [p for p in results if not is_reference(p) and math.isfinite(p.kl_mean)]
    ranked = [p for p in compared if not keeps_weights(p) and not holds_source_grid(p)]
    return ranked or compared


def front(points: Sequence[PointResult]) -> list[PointResult]:
    """Return the Pareto front of bits per weight and KL divergence, the fewest bits first.

    A point is on the front if it is better than the best of those with as few bits. Holm's
    procedure over these comparisons: each accepted point raises the level of the others.
    """
    ordered = sorted(points, key=lambda p: (p.bits_per_weight, p.kl_mean))
    found: list[PointResult] = []
    level = 0.0
    while (raised := LEVEL / max(1, len(ordered) - max(1, len(found)))) > level:
        level, found = raised, _better_and_better(ordered, level=raised)
    return found


def _better_and_better(ordered: Sequence[PointResult], *, level: float) -> list[PointResult]:
    found = list(ordered[:1])
    for point in ordered[1:]:
        if is_better(point, found[-1], level=level):
            found.append(point)
    return found


def is_better(point: PointResult, other: PointResult, *, level: float) -> bool:
    """Whether a point's divergence is smaller, and not by chance where that can be tested."""
    p_value = paired_p_value(point.window_kl, other.window_kl)
    return point.kl_mean < other.kl_mean and (p_value is None or p_value <= level)


def ties(best: PointResult, others: Sequence[PointResult]) -> list[PointResult]:
    """Return the points whose divergence no test separates from that of ``best``."""
    return _inseparable([(best, other) for other in others])


def like_bits(point: PointResult, other: PointResult) -> bool:
    """Whether two points have equally many bits per weight, for a comparison of formats."""
    return abs(point.bits_per_weight - other.bits_per_weight) <= LIKE_BITS


def _ties(ranked: Sequence[PointResult], on_front: Sequence[PointResult]) -> dict[int, str]:
    """Return which point on the front each other one ties with, by the identity of the other."""
    pairs = []
    for point in ranked:
        near = [best for best in on_front if like_bits(best, point)]
        if near and not _is_in(point, on_front):
            pairs.append((min(near, key=lambda p: p.kl_mean), point))
    tied = {id(point) for point in _inseparable(pairs)}
    return {id(point): best.recipe for best, point in pairs if id(point) in tied}


def _inseparable(pairs: Sequence[tuple[PointResult, PointResult]]) -> list[PointResult]:
    """Return the second points of the pairs that one Holm procedure leaves equal."""
    p_values = [paired_p_value(a.window_kl, b.window_kl) for a, b in pairs]
    tested = [(b, p) for (_, b), p in zip(pairs, p_values, strict=True) if p is not None]
    rejected = holm([p for _, p in tested])
    return [point for (point, _), apart in zip(tested, rejected, strict=True) if not apart]


def _is_in(point: PointResult, points: Iterable[PointResult]) -> bool:
    return any(point is other for other in points)
