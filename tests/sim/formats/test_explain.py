import math

import pytest

from numerics.formats import E2M1, E4M3, E8M0, NF4, IntFormat
from sim.errors import UserError
from sim.formats.explain import Reason, explain
from sim.formats.lookup import find_formats, grid

INT4 = IntFormat(name="int4", bits=4)


@pytest.mark.parametrize(
    ("fmt", "number", "value", "reason", "neighbours"),
    [
        (E2M1, 4.25, 4.0, Reason.NEARER, (4.0, 6.0)),
        (E2M1, 5.0, 4.0, Reason.TIE, (4.0, 6.0)),
        (E2M1, -3.0, -3.0, Reason.EXACT, (-3.0, -3.0)),
        (E2M1, 99.0, 6.0, Reason.SATURATED, (6.0, None)),
        (E2M1, -math.inf, -6.0, Reason.SPECIAL, (None, -6.0)),
        (INT4, -7.4, -7.0, Reason.SATURATED, (None, -7.0)),
        (INT4, 2.5, 2.0, Reason.TIE, (2.0, 3.0)),
        (E8M0, 3.0, 4.0, Reason.TIE, (2.0, 4.0)),
        (E8M0, -1.0, math.nan, Reason.NO_VALUE, (None, 2.0**-127)),
        (NF4, -0.6, NF4.table[2], Reason.NEARER, NF4.table[1:3]),
    ],
)
def test_reasons(fmt, number, value, reason, neighbours):
    found = explain(fmt, number)
    assert found.value == pytest.approx(value, abs=0, nan_ok=True)
    assert (found.reason, (found.below, found.above)) == (reason, neighbours)
    assert found.code == fmt.encode(number)


def test_a_threshold_rounded_to_float32_is_named():
    """Where the exact midpoint lies below the float32 one, what is between goes down."""
    gaps = zip(NF4.table, NF4.table[1:], NF4.thresholds, strict=False)
    low, high, threshold = next(g for g in gaps if (g[0] + g[1]) / 2 < g[2])
    found = explain(NF4, threshold)
    assert (found.value, found.reason) == (low, Reason.THRESHOLD)
    assert (found.below, found.above) == (low, high)


def test_a_format_without_nan_says_so():
    with pytest.raises(UserError, match=r"^fp4_e2m1 has no code for NaN$"):
        explain(E2M1, math.nan)
    assert explain(E4M3, math.nan).reason is Reason.SPECIAL


def test_grids_are_what_rounding_gives():
    assert grid(INT4) == tuple(range(-7, 8))
    assert len(grid(E2M1)) == 15 and grid(E4M3)[-1] == 448
    assert find_formats("int4_full")[0].min == -8
    assert find_formats("mxfp4") == (E2M1,)
