"""About how long points of a sweep take on this machine."""

import math
import statistics
import time
from collections.abc import Sequence

import numpy as np

from sim.model.tensors import tensor_shapes
from sim.sweep.engine import Sweep
from sim.sweep.recipe import Recipe

#: Time of a point whose sums round as a PE does, over that of one whose sums do not; assumed, 30 to
#: 130 on the embedded model.
ROUNDING_FACTOR = 60.0
#: Fraction of the rate of a large matrix product that a whole point reaches; assumed.
EFFICIENCY = 0.4
#: Time to compile and to quantize in s, at least; assumed.
LEAST_S = 2.0
#: Size of the matrix product that measures this machine.
SIZE = 1024


def estimated_s(sweep: Sweep, recipes: Sequence[Recipe]) -> float:
    """Return the expected time of recipes, one after another, in s.

    From the points of the same sample in the sweep's store, else from a matrix product.
    """
    known = sweep.stored()
    exact = [point.wall_s for point in known if " pe=" not in point.recipe]
    rounding = [point.wall_s for point in known if " pe=" in point.recipe]
    usual = statistics.median(exact) if exact else _computed_s(sweep)
    slow = statistics.median(rounding) if rounding else ROUNDING_FACTOR * usual
    return sum(usual if recipe.pe is None else slow for recipe in recipes)


def _computed_s(sweep: Sweep) -> float:
    """Return the expected time of a point whose sums do not round."""
    a = np.ones((SIZE, SIZE), np.float32)
    started = time.perf_counter()
    a @ a
    rate = SIZE**3 / (time.perf_counter() - started)
    shapes = tensor_shapes(sweep.source.config).values()
    macs = sum(math.prod(shape) for shape in shapes) * sweep.windows.tokens.size
    return LEAST_S + macs / (EFFICIENCY * rate)


def time_text(seconds: float) -> str:
    """Return a rough time in words.

    >>> time_text(8), time_text(140), time_text(9000)
    ('10 s', '2 min', '2.5 h')
    """
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
