"""The scalar formats, on every code, against tables of facts and foreign libraries."""

import math
from fractions import Fraction

import gfloat
import gfloat.formats
import ml_dtypes
import numpy as np
import pytest

from numerics import FORMATS
from numerics.formats import FloatFormat, IntFormat, TableFormat, float_format
from numerics.formats import constants as c

INT4 = IntFormat(name="int4", bits=4)
FOREIGN = {
    c.E2M1: (ml_dtypes.float4_e2m1fn, gfloat.formats.format_info_ocp_e2m1),
    c.E2M3: (ml_dtypes.float6_e2m3fn, gfloat.formats.format_info_ocp_e2m3),
    c.E3M2: (ml_dtypes.float6_e3m2fn, gfloat.formats.format_info_ocp_e3m2),
    c.E4M3: (ml_dtypes.float8_e4m3fn, gfloat.formats.format_info_ocp_e4m3),
    c.E5M2: (ml_dtypes.float8_e5m2, gfloat.formats.format_info_ocp_e5m2),
    c.E4M3_IEEE: (ml_dtypes.float8_e4m3, None),
    c.E3M4: (ml_dtypes.float8_e3m4, None),
    c.E4M3FNUZ: (ml_dtypes.float8_e4m3fnuz, None),
    c.E4M3B11FNUZ: (ml_dtypes.float8_e4m3b11fnuz, None),
    c.E5M2FNUZ: (ml_dtypes.float8_e5m2fnuz, None),
    c.E8M0: (ml_dtypes.float8_e8m0fnu, gfloat.formats.format_info_ocp_e8m0),
    c.FP16: (np.float16, gfloat.formats.format_info_binary16),
    c.BF16: (ml_dtypes.bfloat16, gfloat.formats.format_info_bfloat16),
}
SMALL = [c.E2M1, c.E2M3, c.E3M2, c.E4M3, c.E5M2]
by_name = {"ids": lambda fmt: fmt.name}


def same(x: float, y: float) -> bool:
    """Equal, signs of zeros included, or both NaN."""
    if math.isnan(x) or math.isnan(y):
        return math.isnan(x) and math.isnan(y)
    return x == y and math.copysign(1, x) == math.copysign(1, y)


@pytest.mark.parametrize("fmt", FOREIGN, **by_name)
def test_every_code_has_the_value_that_ml_dtypes_gives_it(fmt):
    dtype = FOREIGN[fmt][0]
    # Every 19th code of the 16-bit formats; all codes take seconds.
    codes = np.arange(0, 2**fmt.bits, 1 if fmt.bits <= 8 else 19)
    stored = codes.astype(np.uint8 if fmt.bits <= 8 else np.uint16).view(dtype)
    with np.errstate(invalid="ignore"):
        values = stored.astype(np.float64).tolist()
    pairs = zip(codes.tolist(), values, strict=True)
    assert all(same(fmt.decode(code), value) for code, value in pairs)


@pytest.mark.parametrize("fmt", [*SMALL, c.E8M0], **by_name)
def test_every_code_has_the_value_that_gfloat_gives_it(fmt):
    info = FOREIGN[fmt][1]
    assert all(same(v, gfloat.decode_float(info, k).fval) for k, v in enumerate(fmt.values))


@pytest.mark.parametrize("fmt", [*SMALL, c.FP16, c.BF16, c.E8M0, c.NF4], **by_name)
def test_encoding_a_finite_value_gives_its_code_back(fmt):
    step = 1 if fmt.bits <= 8 else 37
    for code in range(0, 2**fmt.bits, step):
        if math.isfinite(fmt.decode(code)):
            assert fmt.encode(fmt.decode(code)) == code


# Number of values, max, smallest normal, smallest positive, threshold that no longer rounds to max.
FACTS = [
    (c.E2M1, 15, 6, 1, 0.5, 7),
    (c.E2M3, 63, 7.5, 1, 0.125, 7.75),
    (c.E3M2, 63, 28, 0.25, 0.0625, 30),
    (c.E4M3, 253, 448, 2**-6, 2**-9, 464),
    (c.E5M2, 247, 57344, 2**-14, 2**-16, 61440),
]


@pytest.mark.parametrize(("fmt", "count", "largest", "normal", "smallest", "threshold"), FACTS)
def test_formats_have_the_published_limits(fmt, count, largest, normal, smallest, threshold):
    assert len({v for v in fmt.values if math.isfinite(v)}) == count
    assert (fmt.max, fmt.min, fmt.half_range) == (largest, -largest, largest)
    assert 2.0**fmt.min_exponent == normal
    assert fmt.smallest == smallest == fmt.unit
    below = math.nextafter(threshold, 0)
    assert fmt.round(below) == fmt.encode(below, overflow="ieee") * 0 + largest
    expected = {c.E4M3: fmt.max_code, c.E5M2: fmt.inf_code}.get(fmt, fmt.max_code)
    assert fmt.encode(threshold, overflow="ieee") == expected


def test_fp4_ties_go_to_the_even_code():
    ties = {0.25: 0, 0.75: 1, 1.25: 1, 1.75: 2, 2.5: 2, 3.5: 4, 5: 4}
    assert {x: c.E2M1.round(x) for x in ties} == ties
    assert [c.E2M1.decode(code) for code in range(8)] == [0, 0.5, 1, 1.5, 2, 3, 4, 6]


def test_overflow_policies_differ_where_they_say():
    x = 1e9
    assert [c.E4M3.encode(x, overflow=p) for p in ("ieee", "sat", "satfinite")] == [
        0x7F,
        0x7E,
        0x7E,
    ]
    assert [c.E5M2.encode(x, overflow=p) for p in ("ieee", "sat", "satfinite")] == [
        0x7C,
        0x7B,
        0x7B,
    ]
    assert [c.E2M1.encode(x, overflow=p) for p in ("ieee", "sat", "satfinite")] == [7, 7, 7]
    inf = -math.inf
    assert [c.E4M3.encode(inf, overflow=p) for p in ("sat", "satfinite")] == [0xFF, 0xFE]
    assert [c.E5M2.encode(inf, overflow=p) for p in ("sat", "satfinite")] == [0xFC, 0xFB]
    assert c.E2M1.encode(inf) == 0xF


def test_nan_keeps_its_sign_where_there_is_a_code_for_it():
    assert (c.E4M3.encode(math.nan), c.E4M3.encode(-math.nan)) == (0x7F, 0xFF)
    assert (c.E5M2.encode(math.nan), c.FP16.encode(math.nan)) == (0x7E, 0x7E00)


@pytest.mark.parametrize("fmt", [c.E2M1, c.E2M3, INT4, c.NF4], **by_name)
def test_nan_is_refused_where_there_is_no_code_for_it(fmt):
    with pytest.raises(ValueError, match=rf"^{fmt.name} has no code for NaN$"):
        fmt.encode(math.nan)


def test_scalar_rounding_rounds_once():
    # A double just above a midpoint, which a conversion to float32 would round to the midpoint.
    hair_above = 2.5 + 2.0**-40
    assert c.E2M1.round(hair_above) == 3
    assert c.E2M1.round(Fraction(5, 2) + Fraction(1, 2**99)) == 3
    assert c.FP32.round(1 + 2.0**-24 + 2.0**-50) == 1 + 2.0**-23


def test_rounding_to_a_wider_format_first_is_another_function():
    # 0.2578125 is a tie in E4M3 and goes down to 0.25, which is a tie in E2M1 and goes to 0.
    x = 0.2578125
    assert c.E2M1.round(c.E4M3.round(x)) == 0
    assert c.E2M1.round(x) == 0.5


@pytest.mark.parametrize("fmt", [c.FP16, c.BF16, c.FP32], **by_name)
def test_wide_formats_round_like_numpy(fmt):
    rng = np.random.default_rng(0)
    dtype = {c.FP32: np.float32, **{f: FOREIGN[f][0] for f in (c.FP16, c.BF16)}}[fmt]
    x = rng.standard_normal(500) * 2.0 ** rng.integers(-20, 15, 500)
    x = x if fmt == c.FP32 else x.astype(np.float32)
    for value in x:
        assert fmt.round(float(value)) == float(value.astype(dtype))


@pytest.mark.parametrize("bits", range(2, 9))
def test_integers_round_half_to_even_and_saturate(bits):
    narrow = IntFormat(name="i", bits=bits)
    full = IntFormat(name="i", bits=bits, kind="full")
    unsigned = IntFormat(name="u", bits=bits, kind="unsigned")
    top = 2 ** (bits - 1) - 1
    assert (narrow.min, narrow.max, narrow.half_range) == (-top, top, top)
    assert (full.min, full.max, full.half_range) == (-top - 1, top, top + 0.5)
    assert (unsigned.min, unsigned.max) == (0, 2 * top + 1)
    for fmt in (narrow, full, unsigned):
        assert fmt.encode(fmt.min) == int(fmt.min) % 2**bits
        assert (fmt.round(-1e9), fmt.round(math.inf)) == (fmt.min, fmt.max)
        for code in range(2**bits):
            value = fmt.decode(code)
            if value >= fmt.min:
                assert fmt.encode(value) == code
            if fmt.min <= value < fmt.max:
                assert fmt.round(value + 0.5) == (value if value % 2 == 0 else value + 1)
    assert narrow.decode(2 ** (bits - 1)) == -top - 1


def test_mx_integers_count_in_sixty_fourths():
    assert (c.MXINT8.max, c.MXINT8.min, c.MXINT8.unit) == (127 / 64, -127 / 64, 1 / 64)
    assert (c.MXINT8.encode(-2.0), c.MXINT8.decode(0x81), c.MXINT8.max_exponent) == (
        0x81,
        -127 / 64,
        0,
    )


def test_ternary_has_three_values():
    assert [c.TERNARY.round(x) for x in (-9, -0.6, -0.5, 0.5, 0.51)] == [-1, -1, 0, 0, 1]


def test_every_value_is_an_integer_times_the_unit():
    for fmt in (*SMALL, INT4, c.MXINT8, c.TERNARY):
        integers = [v / fmt.unit for v in fmt.values if math.isfinite(v)]
        assert all(n == int(n) for n in integers)
        assert fmt.max_integer == max(abs(n) for n in integers)
    assert c.NF4.unit is None and c.NF4.max_integer is None


# The table of bitsandbytes, as quoted by QLoRA's appendix E and its CPU backend.
def test_nf4_is_the_table_of_bitsandbytes():
    assert c.NF4.bits == 4 and c.NF4.values[7] == 0.0
    assert (c.NF4.min, c.NF4.max, c.NF4.half_range) == (-1.0, 1.0, 1.0)
    assert c.NF4.values[1] == float(np.float32(-0.6961928009986877))
    assert c.NF4.values[14] == float(np.float32(0.7229568362236023))
    assert [float(np.float32(v)) for v in c.NF4.values] == list(c.NF4.values)


def test_nf4_in_8_bits_has_the_codes_of_nf4_and_values_within_half_a_step():
    low, high = (-127, -88, -67, -50, -36, -23, -12, 0), (10, 20, 31, 43, 56, 71, 92, 127)
    assert c.NF4_INT8.table == (*low, *high) and (c.NF4_INT8.unit, c.NF4_INT8.bits) == (1, 4)
    for code in range(16):
        assert abs(c.NF4_INT8.decode(code) - 127 * c.NF4.decode(code)) <= 0.5
        assert c.NF4_INT8.encode(127 * c.NF4.decode(code)) == code


def test_nf4_ties_go_to_the_lower_index():
    for index, threshold in enumerate(c.NF4.thresholds):
        above = float(np.nextafter(np.float32(threshold), np.float32(2)))
        assert (c.NF4.encode(threshold), c.NF4.encode(above)) == (index, index + 1)
        assert threshold == np.float32((c.NF4.values[index] + c.NF4.values[index + 1]) / 2)


def test_e8m0_rounds_ties_up_and_has_no_zero():
    assert (c.E8M0.encode(1.5), c.E8M0.encode(math.nextafter(1.5, 0))) == (128, 127)
    assert [c.E8M0.encode(x) for x in (0, -1, math.inf, math.nan, 1.5 * 2.0**127)] == [255] * 5
    assert (c.E8M0.encode(2.0**-149), c.E8M0.min, c.E8M0.max) == (0, 2.0**-127, 2.0**127)


def test_codes_outside_the_format_are_refused():
    with pytest.raises(ValueError, match=r"^a code of fp4_e2m1 is between 0 and 15, not 16$"):
        c.E2M1.decode(16)
    with pytest.raises(ValueError, match=r"^a code of int4 is between 0 and 15, not -1$"):
        INT4.decode(-1)


def test_a_wide_format_does_not_list_its_values():
    with pytest.raises(ValueError, match=r"^fp32 has 2\*\*32 codes, too many to list$"):
        _ = c.FP32.values


def test_tables_must_increase_and_be_float32():
    with pytest.raises(ValueError, match=r"^the table of t needs two or more values, increasing$"):
        TableFormat(name="t", table=(0.0, 0.0))
    with pytest.raises(ValueError, match=r"^the values of t must be float32 numbers$"):
        TableFormat(name="t", table=(0.0, 0.1))


def test_a_table_may_have_a_length_that_is_not_a_power_of_two():
    signs = TableFormat(name="signs", table=(-1.0, 0.0, 1.0))
    assert (signs.bits, signs.values) == (2, (-1.0, 0.0, 1.0, 1.0))


def test_a_float_format_without_mantissa_is_signed_powers_of_two():
    fmt = FloatFormat(name="e3m0", exponent_bits=3, mantissa_bits=0, bias=3)
    assert fmt.values[:8] == (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    assert [fmt.round(x) for x in (0.1, 0.125, 0.13, 3.0, 6.0)] == [0.0, 0.0, 0.25, 4.0, 8.0]


def test_generic_formats_have_all_codes_as_numbers():
    e4m3 = float_format(4, 3)
    assert (e4m3.max, e4m3.bias, e4m3.nan_code) == (480, 7, None)
    assert float_format(1, 2).values[:8] == (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5)
    with pytest.raises(ValueError, match=r"^e5m3 has 9 bits; an element has at most 8"):
        float_format(5, 3)


def test_fnuz_has_one_nan_and_no_negative_zero():
    assert (c.E4M3FNUZ.encode(-0.0), c.E4M3FNUZ.encode(-1e-9), c.E4M3FNUZ.encode(math.nan)) == (
        0,
        0,
        0x80,
    )
    assert (c.E4M3FNUZ.encode(-math.inf), c.E4M3FNUZ.encode(-math.inf, overflow="satfinite")) == (
        0x80,
        0xFF,
    )
    assert c.E4M3FNUZ.max == 240


# Vectors of the paper's definition: half steps next to zero, ties to 0 and 1 instead of 1/2.
DINT_VECTORS = {
    0.1: 0, 0.25: 0, 0.26: 0.5, 0.5: 0.5, -0.5: -0.5, 0.74: 0.5, 0.75: 1, -0.26: -0.5, 1.5: 2,
    2.5: 2, -3.5: -4, 5.9: 6, 6.4: 6, 7.2: 6, -6.6: -6, -9: -6,
}  # fmt: skip


def test_dint_rounds_as_defined():
    assert {x: c.DINT4.round(x) for x in DINT_VECTORS} == DINT_VECTORS
    assert (c.DINT4.unit, c.DINT4.max_integer, c.DINT4.bits) == (0.5, 12, 4)
    group = (2, -1, 0.5, 4, -6, 3, 1.2, -0.4)
    assert [c.DINT4.encode(x) for x in group] == [2, 15, 7, 4, 10, 3, 1, 8]
    assert FORMATS["dint3"].values == (0, 1, 2, 0.5, -0.5, 2, -2, -1)
    # Two codes are +-1/2, and one of the others is unused, because zero has no sign.
    for bits in (5, 6, 7):
        dint, top = FORMATS[f"dint{bits}"], 2 ** (bits - 1) - 2
        assert dint.table == (*range(-top, 0), -0.5, 0, 0.5, *range(1, top + 1))
        assert [dint.encode(x) for x in (0.5, -0.5, -top)] == [top + 1, top + 2, top + 4]
        assert [dint.round(x) for x in (0.25, 0.75, top - 1.5, 1e9)] == [0, 1, top - 2, top]


def test_tables_of_ant_round_ties_up_and_logarithms_by_the_root_of_two():
    assert [c.FLINT4.round(x) for x in (5, -5, 12, -12)] == [6, -4, 16, -8]
    assert c.FLINT4.table[-8:] == (0, 1, 2, 3, 4, 6, 8, 16)
    assert c.APOT4.table[-7:] == (1, 2, 3, 4, 6, 8, 10)
    five = (1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 33, 36, 48)
    assert FORMATS["apot5"].table[-15:] == five and FORMATS["apot5"].round(32.5) == 33
    # With three bits all types of ANT except integers have the same values.
    names = "pot3", "apot3", "flint3"
    assert {FORMATS[name].table for name in names} == {(-4, -2, -1, 0, 1, 2, 4)}
    assert [FORMATS[name].round(x) for name in names for x in (3, -3)] == [4, -2] * 3
    # By value 1.45 is nearer to 1, by logarithm to 2.
    assert (c.POT4_LOG.round(1.45), FORMATS["pot4"].round(1.45)) == (2, 1)


def test_normal_floats_have_the_published_digits():
    nf3 = (-1, -0.478629, -0.217142, 0, 0.16093, 0.337915, 0.562617, 1)
    assert c.NF3.values == pytest.approx(nf3, abs=6e-7)
    assert c.NF2.values == pytest.approx((-1, 0, 0.337915, 1), abs=6e-7)


def test_bitsandbytes_fp4_is_twelfths():
    twelfths = [v * 12 for v in c.FP4_BNB.table if v > 0]
    assert twelfths == pytest.approx([0.0625, 2, 3, 4, 6, 8, 12], rel=1e-6)
