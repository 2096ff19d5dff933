import math

from hypothesis import given, settings
from hypothesis import strategies as st

from sim.report.pareto import best, candidates, pareto_front

from .conftest import make_point

NUMBERS = st.integers(0, 6).map(float)


def beats(a, b):
    return a[0] <= b[0] and a[1] <= b[1] and a != b


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12))
def test_the_front_is_what_nothing_beats(points):
    front = [points[i] for i in pareto_front(points)]
    assert set(front) == {p for p in points if not any(beats(q, p) for q in points)}
    assert front == sorted(front) and len(front) == len(set(front))


def test_more_bits_do_not_win_by_the_noise_below_zero():
    points = [
        make_point("int4", 4.0, 0.3, 0.02),
        make_point("int6", 6.0, -0.0001, 0.0004),
        make_point("int8", 8.0, -0.0018, 0.0006),
    ]
    assert [p.recipe for p in best(points)] == ["int4", "int6"]


def test_the_front_leaves_out_what_bits_cannot_rank():
    exact = make_point("int4-floatmin", 1.0, 0.0, None, sqnr_db={"l": 135.0})
    cache = make_point("kv=int8", 32.0, 0.0, None)
    broken = make_point("int2", 1.0, math.inf, None)
    ranked = make_point("int4", 4.0, 0.3, None)
    reference = make_point("float32", 32.0, 0.0, None)
    assert best([reference, broken, exact, cache, ranked]) == [ranked]
    assert candidates([reference, cache]) == [cache]
    assert candidates([reference]) == []
