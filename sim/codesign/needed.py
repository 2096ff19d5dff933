"""Missing accuracy points that could change the front: the others need not be measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from roofline.model.model_shape import ModelShape
from sim.codesign.accuracy_file import FLOAT, ROUND_TO_NEAREST, AccuracyRow
from sim.codesign.front import Front, is_covered
from sim.codesign.grid import Grid
from sim.codesign.missing import Missing
from sim.codesign.pairs import Pair, elements, join
from sim.codesign.search import OBJECTIVES, Limits, Space, evaluated, keep_limits, make_space

#: Standard errors by which a point may be nearer to float32 than one that rounds less: 2. Assumed;
#: none of the 431 such comparisons in the built-in tables breaks it.
MARGIN = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machines:
    """The machines to choose from, and the token and the prompts that they compute."""

    shape: ModelShape
    grid: Grid
    context: int
    prompts: tuple[int, ...] = ()

    def space(self, pairs: Sequence[Pair]) -> Space:
        """Return the designs of pairs on all machines."""
        return make_space(self.shape, pairs, self.grid, context=self.context, prompts=self.prompts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """A missing point that could change the front."""

    point: Missing
    #: Divergence that its row has at least, nats per token.
    least_kl: float
    #: Designs within the limits that no measured design would dominate at that divergence.
    designs: int


def needed(
    points: Sequence[Missing],
    rows: Sequence[AccuracyRow],
    measured: Space | None,
    machines: Machines,
    limits: Limits,
) -> list[Needed]:
    """Return the points with a design that could be on the front, those with most designs first.

    A design could be on it if it keeps the limits and no measured design dominates it, with its
    divergence as small as :func:`least_kl` allows. ``measured`` are the designs of measured rows,
    ``None`` without one; ``rows`` may be more, for the least divergences.
    """
    none = np.empty((0, len(OBJECTIVES) + len(machines.prompts)))
    front = none if measured is None else _front(measured, limits)
    found = []
    for point in points:
        least = least_kl(point, rows)
        pairs = join([_row(point, least)], elements(point.elements))
        if not pairs:
            continue
        own = _front(machines.space(pairs), limits)
        count = int((~is_covered(own, front)).sum())
        if count:
            found.append(Needed(point=point, least_kl=least, designs=count))
    return sorted(found, key=lambda one: -one.designs)


def least_kl(point: Missing, rows: Sequence[AccuracyRow]) -> float:
    """Return the least divergence of a point, in nats per token.

    It is at least 0, and assumed to be at least that of every measured row that rounds only some of
    the same operands in the same formats, less :data:`MARGIN` standard errors.
    """
    own = {
        "weights": point.weights,
        "activations": point.activations or FLOAT,
        "kv": point.kv,
        "pe": point.pe,
    }
    least = 0.0
    for row in rows:
        rounds_less = all(
            getattr(row, role) in (name, "" if role == "pe" else FLOAT)
            for role, name in own.items()
        )
        if rounds_less and row.head == FLOAT and row.method == ROUND_TO_NEAREST:
            error = row.loss_se if row.kl_se is None else row.kl_se
            least = max(least, row.kl_nats - MARGIN * (error or 0.0))
    return least


def _row(point: Missing, kl_nats: float) -> AccuracyRow:
    """Return the row that a point would have with a divergence."""
    return AccuracyRow(
        weights=point.weights,
        activations=point.activations or FLOAT,
        kv=point.kv,
        pe=point.pe,
        bits_per_weight=0.0,  # unknown; designs count the bytes of the format itself
        kl_nats=kl_nats,
        kl_se=None,
        loss_nats=0.0,
        loss_se=None,
        top1=0.0,
        tokens=0,
    )


def _front(space: Space, limits: Limits) -> Float64[np.ndarray, "n objectives"]:
    """Return the objectives on the front, with the divergence itself in place of its class."""
    found = Front(len(space.objectives))
    for numbers, points, is_valid in evaluated(space):
        ok = is_valid & keep_limits(points, limits, space, numbers)
        points[:, 0] = space.pairs[int(numbers[0]) // space.grid.size].accuracy.kl_nats
        found.add(points[ok], numbers[ok])
    return found.points
