import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.report.pareto import family, headline, pareto_front, quantizes_inputs, weight_format

NUMBERS = st.integers(0, 6).map(float)


def beats(a, b):
    return a[0] <= b[0] and a[1] <= b[1] and a != b


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12))
def test_the_front_is_what_nothing_beats(points):
    front = {points[i] for i in pareto_front(points)}
    assert front == {p for p in points if not any(beats(q, p) for q in points)}


@pytest.mark.parametrize(
    ("recipe", "weights", "kind", "inputs"),
    [
        ("fp4:g64", "fp4", "FP", False),
        ("int4-asym", "int4-asym", "INT", False),
        ("mxfp4-rceil", "mxfp4-rceil", "MX", False),
        ("w=nvfp4,a=int8", "nvfp4", "NVFP4", True),
        ("kv=int8", "float32", "float32 weights", True),
        ("int8 skip=*.down_proj", "int8", "INT", False),
        ("my <recipe>", "my", "other", False),
    ],
)
def test_recipes_are_told_apart_by_their_names(recipe, weights, kind, inputs):
    assert (weight_format(recipe), family(recipe), quantizes_inputs(recipe)) == (
        weights, kind, inputs,
    )  # fmt: skip


def test_the_headline_names_the_fewest_bits_within_the_limit(results):
    assert headline(results) == (
        "The fewest bits within 0.02 nats of float32: int6 costs +0.0170 ± 0.0030 nats "
        "at 6.13 bits per weight, and keeps the likeliest token in 98.3 % of positions."
    ).replace("int6 costs +0.0170", "fp6_e2m3 costs +0.0120").replace("98.3", "98.8")


def test_the_headline_passes_over_what_only_reproduces_the_source(results):
    exact = dataclasses.replace(
        results[0], recipe="same grid", bits_per_weight=1.0, delta_nats=0.0, sqnr_db={"l": 140.0}
    )
    assert headline([*results, exact]) == headline(results)


def test_headlines_of_small_sweeps(results):
    points = {p.recipe: p for p in results}
    assert headline([points["float32"]]) == (
        "The float32 model has perplexity 29; nothing to compare."
    )
    assert headline([points["float32"], points["int3"]]).startswith("int3 costs +2.5000")
    assert headline([points[n] for n in ("float32", "int3", "fp4")]).startswith(
        "No format stays within 0.02 nats of float32; the nearest: fp4 costs +0.3350"
    )
