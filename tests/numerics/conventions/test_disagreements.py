"""Inputs on which libraries disagree: the result of each library and of qsim, by name.

Libraries of the default installation are called; results of other libraries are frozen files, or
computed as in their source code.
"""

import math

import gfloat
import gfloat.formats
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from numerics import parse_scheme, quantize
from numerics.formats import E2M1, E4M3, E4M3_ALL, E4M3_IEEE, E8M0, IntFormat

TIES = (0.25, 1.25, 2.5, 5.0)


def block(*values: float) -> np.ndarray:
    return np.pad(np.float32(values), (0, 32 - len(values)))[None]


def half_away(x: float) -> float:
    """Round to E2M1 with ties away from zero: microxcaling's ``nearest``."""
    step = 2.0 ** (max(math.floor(math.log2(x)), 0) - 1)
    return math.floor(x / step + 0.5) * step


def test_ties_go_to_even_and_with_microxcaling_away_from_zero():
    found = quantize(block(*TIES), parse_scheme("mxfp4")).dequantize()[0, :4]
    assert found.tolist() == [0.0, 1.0, 2.0, 4.0]
    assert [half_away(x) for x in TIES] == [0.5, 1.5, 3.0, 6.0]
    assert [E2M1.round(x) for x in TIES] == [0.0, 1.0, 2.0, 4.0]
    theirs = np.float32(TIES).astype(ml_dtypes.float4_e2m1fn).astype(float).tolist()
    assert theirs == [0.0, 1.0, 2.0, 4.0]


@pytest.mark.parametrize("exponent", [3, 5, 7, 40, 100])
def test_a_logarithm_in_float32_is_one_too_high_just_below_powers_of_two(exponent):
    amax = np.nextafter(np.float32(2.0**exponent), np.float32(0))
    # Microxcaling and brevitas use this logarithm; the exponent field gives the other result.
    assert np.floor(np.log2(amax)) == exponent
    scale = np.asarray(quantize(block(amax), parse_scheme("mxfp4")).scales, np.float64)
    assert scale.item() == 2.0 ** (exponent - 1 - 2)


@pytest.mark.parametrize(
    ("x", "ieee", "sat", "satfinite", "all_codes"),
    [
        (464.0, 448.0, 448.0, 448.0, 448.0),
        (465.0, math.nan, 448.0, 448.0, 480.0),
        (500.0, math.nan, 448.0, 448.0, 480.0),
        (math.inf, math.nan, math.nan, 448.0, None),
    ],
)
def test_above_the_largest_e4m3(x, ieee, sat, satfinite, all_codes):
    # torch also saturates infinity, ml_dtypes never saturates; qtorch has a value 480.
    policies = {"ieee": ieee, "sat": sat, "satfinite": satfinite}
    for policy, expected in policies.items():
        found = E4M3.decode(E4M3.encode(x, overflow=policy))
        assert found == expected or (math.isnan(found) and math.isnan(expected))
    theirs = float(np.float32(x).astype(ml_dtypes.float8_e4m3fn))
    assert theirs == ieee or (math.isnan(theirs) and math.isnan(ieee))
    if all_codes is not None:
        assert E4M3_ALL.round(x) == all_codes
    assert E4M3_IEEE.decode(E4M3_IEEE.encode(x, overflow="ieee")) == (math.inf if x > 248 else x)


def test_scales_of_zero_and_below():
    for x, code in ((0.0, 255), (-1.0, 255), (1.5, 128), (2.0**-130, 0), (math.nan, 255)):
        theirs = np.float32(x).astype(ml_dtypes.float8_e8m0fnu).view(np.uint8)
        assert E8M0.encode(x) == theirs == code
    # This version of gfloat doesn't saturate values below the range.
    info = gfloat.formats.format_info_ocp_e8m0
    assert gfloat.round_float(info, 2.0**-130) != E8M0.decode(0) == 2.0**-127
    # The scale of a block is rounded down to a power of two, not to nearest.
    scales = quantize(block(1.5), parse_scheme("mxfp8_e4m3")).scales
    assert np.asarray(scales, np.float64).item() == 2.0**-8


def test_nan_has_no_code_of_four_bits():
    with pytest.raises(ValueError, match="no code for NaN"):
        E2M1.encode(math.nan)
    with pytest.raises(ValueError, match="No NaN"):
        gfloat.round_float(gfloat.formats.format_info_ocp_e2m1, math.nan)
    assert float(np.float32(math.nan).astype(ml_dtypes.float4_e2m1fn)) == 0
    assert np.isnan(quantize(block(1.0, math.nan), parse_scheme("mxfp4")).dequantize()).all()


def test_integers_saturate_and_with_ml_dtypes_wrap():
    full = IntFormat(name="int4_full", bits=4)
    assert full.round(12.0) == 7 == int(jnp.float32(12).astype(jnp.int4))
    # Casts of floats beyond the range are undefined there since version 0.7.
    assert int(np.int8(12).astype(ml_dtypes.int4)) == -4


def test_smallest_scales_are_what_is_stored():
    # torchao divides by 2^-126 but stores 2^-127, so its values are half of these.
    x = block(2.0**-118)
    found = quantize(x, parse_scheme("mxfp8_e4m3"))
    assert np.asarray(found.scales).view(np.uint8).item() == 1
    x = block(2.0**-119)
    found = quantize(x, parse_scheme("mxfp8_e4m3"))
    assert np.asarray(found.scales).view(np.uint8).item() == 0
    assert found.dequantize()[0, 0] == np.float32(2.0**-119)
