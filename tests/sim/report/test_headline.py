import math

from sim.report.headline import finding, headline

from .conftest import make_point

REFERENCE = make_point("float32", 32.0, 0.0, 0.0)


def test_it_names_the_fewest_bits_within_the_limit_and_the_best_4_bit_format(results):
    assert headline(results) == (
        "The fewest bits within 0.02 nats of float32: fp6_e2m3 costs +0.0120 ± 0.0030 nats at 6.13 "
        "bits per weight and keeps the likeliest token in 98.8 % of positions. Of the 4-bit "
        "formats, nvfp4 loses least (+0.2200 ± 0.0200), nf4 as little within the error."
    )
    assert finding(results) == (
        "Fewest bits within 0.02 nats of float32: fp6_e2m3 (6.13 bits per weight)"
    )


def test_it_passes_over_what_only_reproduces_the_source(results):
    exact = make_point("same grid", 1.0, 0.0, 0.0, sqnr_db={"l": 140.0})
    assert headline([*results, exact]) == headline(results)
    assert finding([*results, exact]) == finding(results)


def test_it_says_when_nothing_is_near():
    points = [REFERENCE, make_point("int3", 3.1, 2.5, 0.1), make_point("fp4", 4.1, 0.335, None)]
    assert headline(points).startswith(
        "No format stays within 0.02 nats of float32; nearest: fp4 costs +0.3350 nats at 4.1 bits"
    )
    assert finding(points) == "No format within 0.02 nats of float32; nearest: fp4 (+0.335 nats)"


def test_it_says_when_the_error_reaches_past_the_limit():
    points = [REFERENCE, make_point("int4", 4.1, 0.015, 0.01), make_point("int3", 3.1, 1.0, 0.1)]
    assert "within two standard errors it may cost more than 0.02" in headline(points)


def test_one_point_is_described_alone():
    points = [REFERENCE, make_point("int3", 3.13, 2.5, 0.1)]
    assert headline(points).startswith("int3 costs +2.5000 ± 0.1000 nats at 3.13 bits per weight")
    assert finding(points) == "int3: +2.5 nats at 3.13 bits per weight"


def test_bits_per_weight_are_no_answer_where_weights_stay_in_float32():
    points = [
        REFERENCE,
        make_point("kv=int8", 32.0, 0.001, None),
        make_point("kv=fp4", 32.0, 0.2, None),
    ]
    assert finding(points) == "Least loss, with float32 weights: kv=int8 (+0.001 nats)"
    assert "bits" not in headline(points)


def test_there_may_be_nothing_to_compare():
    assert headline([REFERENCE]) == "The float32 model has perplexity 29; nothing to compare."
    broken = make_point("int2", 2.0, math.nan, None)
    assert headline([REFERENCE, broken]) == "No format has a finite loss."
    assert finding([REFERENCE]) == "Nothing to compare with float32"
