import dataclasses
import math

from sim.report.headline import finding, headline

from .conftest import make_point

REFERENCE = make_point("float32", 32.0, 0.0, 0.0)


def test_it_names_the_fewest_bits_near_float32_and_compares_formats_of_like_bits(results):
    assert headline(results) == (
        "The fewest bits with a KL of at most 0.02 nats: fp6_e2m3 diverges from float32 by "
        "0.0120 ± 0.0018 nats at 6.13 bits per weight (loss +0.0120 ± 0.0071) and keeps the "
        "likeliest token in 98.8 % of positions. "
        "Of 4 formats with 4.13 to 4.16 bits per weight, int4-asym is nearest to float32 "
        "(0.300 ± 0.018). "
        "Of 2 formats with 4.25 bits per weight, mxfp4-rceil is nearest to float32 "
        "(0.500 ± 0.018)."
    )
    assert finding(results) == (
        "Fewest bits with a KL of at most 0.02 nats: fp6_e2m3 (6.13 bits per weight)"
    )


def test_formats_within_the_error_are_named():
    points = [REFERENCE, make_point("fp4", 4.13, 0.30, 0.04), make_point("int4", 4.13, 0.301, 0.05)]
    assert headline(points).endswith(
        "Of 2 formats with 4.13 bits per weight, fp4 is nearest to float32 (0.300 ± 0.024); "
        "within the error: int4."
    )


def test_smaller_blocks_do_not_win_against_fewer_bits():
    points = [REFERENCE]
    points += [make_point("fp4", 4.13, 0.3, 0.01), make_point("fp4:g16", 4.9, 0.2, 0.01)]
    assert "Of 2 formats" not in headline(points)


def test_a_text_that_the_model_cannot_read_comes_first():
    lost = dataclasses.replace(REFERENCE, perplexity=50_000.0)
    text = headline([lost, make_point("int4", 4.0, 0.001, 0.001)])
    assert text.startswith(
        "The float32 model cannot read this text: its perplexity 5e+04 is worse than the 49,152"
    )


def test_it_passes_over_what_only_reproduces_the_source(results):
    exact = make_point("same grid", 1.0, 0.0, 0.0, sqnr_db={"l": 140.0})
    assert headline([*results, exact]) == headline(results)
    assert finding([*results, exact]) == finding(results)


def test_it_says_when_nothing_is_near():
    points = [REFERENCE, make_point("int3", 3.1, 2.5, 0.1), make_point("fp4", 4.1, 0.335, None)]
    assert headline(points).startswith(
        "No format has a KL of at most 0.02 nats; nearest: fp4 diverges from float32 by 0.3350 nats"
    )
    assert finding(points) == (
        "No format with a KL of at most 0.02 nats; nearest: fp4 (KL 0.335 nats)"
    )


def test_it_says_when_the_error_reaches_past_the_limit():
    points = [REFERENCE, make_point("int4", 4.1, 0.015, 0.02), make_point("int3", 3.1, 1.0, 0.1)]
    assert "its interval reaches above 0.02." in headline(points)


def test_one_point_is_described_alone():
    points = [REFERENCE, make_point("int3", 3.13, 2.5, 0.1)]
    assert headline(points).startswith(
        "int3 diverges from float32 by 2.500 ± 0.059 nats at 3.13 bits per weight"
    )
    assert finding(points) == "int3: KL 2.5 nats at 3.13 bits per weight"


def test_bits_per_weight_are_no_answer_where_weights_stay_in_float32():
    points = [
        REFERENCE,
        make_point("kv=int8", 32.0, 0.001, None),
        make_point("kv=fp4", 32.0, 0.2, None),
    ]
    assert finding(points) == ("Nearest to float32, with float32 weights: kv=int8 (KL 0.001 nats)")
    assert "bits" not in headline(points)


def test_there_may_be_nothing_to_compare():
    assert headline([REFERENCE]) == "The float32 model has perplexity 29; nothing to compare."
    broken = make_point("int2", 2.0, math.nan, None)
    assert headline([REFERENCE, broken]) == "No format has a finite KL divergence."
    assert finding([REFERENCE]) == "Nothing to compare with float32"
