import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.report.ranking import by_kl, candidates, front, like_bits, rank, ties

from .conftest import make_point

REFERENCE = make_point("float32", 32.0, 0.0, 0.0)


def names(points):
    return [p.recipe for p in points]


def without_windows(point):
    """Return the point with two windows, too few for a standard error."""
    kl = (point.kl_mean,) * 2
    return dataclasses.replace(point, window_kl=kl, kl_mean_se=None, delta_nats_se=None)


def shared(recipe, bits, kl, *, shift=0.0):
    """Return a point with widely spread windows, equal in all such points apart from a shift."""
    windows = kl * (1 + 0.5 * np.array([1, -1, 2, -2, 3, -3, 0, 0])) + shift
    mean = float(windows.mean())
    return make_point(recipe, bits, mean, 0.1, window_kl=tuple(windows.tolist()))


def test_the_float_model_is_first_and_what_has_no_number_is_last():
    wild = [make_point("nan", 4.0, math.nan, None), make_point("inf", 4.0, math.inf, None)]
    points = [*wild, make_point("int4", 4.0, 0.3, None), make_point("int8", 8.0, -0.01, None)]
    assert names(by_kl([*points, REFERENCE])) == ["float32", "int8", "int4", "inf", "nan"]


def test_a_loss_below_zero_does_not_rank():
    """``q5_0`` led by a loss of -0.0108 although its divergence was larger."""
    lucky = make_point("q5_0", 5.5, -0.0108, 0.003, kl_mean=0.0333)
    near = make_point("nf4", 5.5, 0.004, 0.003, kl_mean=0.0281)
    assert names(by_kl([lucky, near])) == ["nf4", "q5_0"]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), max_size=10))
def test_without_windows_the_front_is_what_nothing_beats(pairs):
    points = [
        without_windows(make_point(str(i), *map(float, p), None)) for i, p in enumerate(pairs)
    ]
    found = {(p.bits_per_weight, p.kl_mean) for p in front(points)}
    every = {(p.bits_per_weight, p.kl_mean) for p in points}
    beaten = {a for a in every for b in every if a != b and b[0] <= a[0] and b[1] <= a[1]}
    assert found == every - beaten


def test_a_difference_within_the_error_wins_nothing():
    few, more = make_point("int4", 4.0, 0.30, 0.04), make_point("int5", 5.0, 0.299, 0.05)
    assert names(front([few, more])) == ["int4"]
    better = make_point("int5", 5.0, 0.2, 0.04)
    assert names(front([few, better])) == ["int4", "int5"]


def test_windows_are_compared_in_pairs():
    """The spread over windows is 50 times the difference, but every window agrees on it."""
    few, more = shared("int4", 4.0, 0.3), shared("int5", 5.0, 0.3, shift=-0.003)
    assert names(front([few, more])) == ["int4", "int5"]
    apart = dataclasses.replace(more, window_kl=more.window_kl[::-1])
    assert names(front([few, apart])) == ["int4"]


def test_claims_over_many_formats_need_more():
    """p = 0.03 is a finding for one format; for the best of twenty it is what chance gives."""
    base = make_point("base", 4.0, 0.3, 0.0)
    # The mean difference is 2.7 standard errors over eight windows, so t = 2.7.
    lucky = make_point("lucky", 5.0, 0.3 - 0.0027, 0.004)
    same = [make_point(f"same {i}", 5.0 + i / 100, 0.3, 0.004) for i in range(1, 20)]
    assert names(front([base, lucky])) == ["base", "lucky"]
    assert names(front([base, lucky, *same])) == ["base"]


def test_accepted_points_raise_the_level_for_the_others():
    """The second point has p = 0.036: too much for Bonferroni over two, enough for Holm."""
    first = make_point("int4", 4.0, 0.3, 0.0)
    clear = make_point("int5", 5.0, 0.1, 0.0)
    late = make_point("int6", 6.0, 0.1 - 0.0026, 0.004)
    assert names(front([first, clear, late])) == ["int4", "int5", "int6"]


def test_ties_with_the_front_are_named_at_like_bits_only():
    best, tied = make_point("fp4", 4.1, 0.30, 0.04), make_point("int4", 4.15, 0.301, 0.05)
    far, worse = make_point("nf4", 4.5, 0.301, 0.05), make_point("bad", 4.1, 0.9, 0.04)
    rows = {row.point.recipe: row for row in rank([best, tied, far, worse])}
    assert [rows[n].tied_with for n in ("fp4", "int4", "nf4", "bad")] == ["", "fp4", "", ""]
    assert [rows[n].on_front for n in ("fp4", "int4", "nf4", "bad")] == [True, False, False, False]
    assert ties(best, [tied, worse]) == [tied]
    assert like_bits(best, tied) and not like_bits(best, far)


def test_without_an_error_estimate_nothing_is_called_a_tie():
    points = [without_windows(make_point(n, 4.1, kl, None)) for n, kl in (("a", 0.3), ("b", 0.3))]
    assert ties(points[0], points[1:]) == []
    assert [row.tied_with for row in rank(points)] == ["", ""]


def test_the_front_leaves_out_what_bits_cannot_rank():
    exact = make_point("int4-floatmin", 1.0, 0.0, None, sqnr_db={"l": 135.0})
    cache = make_point("kv=int8", 32.0, 0.0, None)
    broken = make_point("int2", 1.0, math.inf, None)
    ranked = make_point("int4", 4.0, 0.3, None)
    rows = rank([REFERENCE, broken, exact, cache, ranked])
    assert [row.point for row in rows if row.on_front] == [ranked]
    assert candidates([REFERENCE, cache]) == [cache]
    assert candidates([REFERENCE]) == []


def test_points_of_earlier_runs_are_ranked_and_not_new():
    new, old = make_point("int4", 4.0, 0.3, 0.01), make_point("int8", 8.0, 0.01, 0.001)
    rows = rank([REFERENCE, new], [old])
    assert [(row.point.recipe, row.is_new) for row in rows] == [
        ("float32", True),
        ("int8", False),
        ("int4", True),
    ]


@pytest.mark.parametrize("count", [2, 8])
def test_no_number_ends_the_ranking(count):
    wild = [
        make_point(str(kl), 4.0, kl, None, window_kl=(kl,) * count)
        for kl in (math.inf, math.nan, 0.1, 0.2)
    ]
    assert names(front(candidates(wild))) == ["0.1"]
