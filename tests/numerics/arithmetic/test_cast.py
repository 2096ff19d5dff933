"""The array casts against the scalar formats, ml_dtypes and gfloat."""

import gfloat
import gfloat.formats
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from _helpers import gold
from _helpers.casts import encoded
from hypothesis import given, settings
from hypothesis import strategies as st

from numerics import FORMATS, decode, encode, round_to
from numerics.arithmetic.cast import round_element
from numerics.formats import FloatFormat, IntFormat, TableFormat
from numerics.formats import constants as c

DTYPES = {
    c.E2M1: ml_dtypes.float4_e2m1fn,
    c.E2M3: ml_dtypes.float6_e2m3fn,
    c.E3M2: ml_dtypes.float6_e3m2fn,
    c.E4M3: ml_dtypes.float8_e4m3fn,
    c.E5M2: ml_dtypes.float8_e5m2,
    c.E4M3_IEEE: ml_dtypes.float8_e4m3,
    c.E3M4: ml_dtypes.float8_e3m4,
    c.E4M3FNUZ: ml_dtypes.float8_e4m3fnuz,
    c.E4M3B11FNUZ: ml_dtypes.float8_e4m3b11fnuz,
    c.E5M2FNUZ: ml_dtypes.float8_e5m2fnuz,
    c.E8M0: ml_dtypes.float8_e8m0fnu,
    c.FP16: np.float16,
    c.BF16: ml_dtypes.bfloat16,
}
GFLOAT = {
    c.E2M1: gfloat.formats.format_info_ocp_e2m1,
    c.E2M3: gfloat.formats.format_info_ocp_e2m3,
    c.E3M2: gfloat.formats.format_info_ocp_e3m2,
    c.E4M3: gfloat.formats.format_info_ocp_e4m3,
    c.E5M2: gfloat.formats.format_info_ocp_e5m2,
}
ELEMENTS = [f for f in FORMATS.values() if f.bits <= 8 and f != c.E8M0]
#: Every third format is a default test; the others are slow.
SOME = [pytest.param(fmt, marks=[pytest.mark.slow] * (i % 3 > 0)) for i, fmt in enumerate(ELEMENTS)]
by_name = {"ids": lambda fmt: fmt.name}
#: Step through bit patterns: a prime, so that every bit varies.
STRIDE = 977
ALL_FLOAT16 = np.arange(2**16, dtype=np.uint16).view(np.float16)
ALL_BFLOAT16 = np.arange(2**16, dtype=np.uint16).view(ml_dtypes.bfloat16)


def float32(x) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.asarray(x).astype(np.float32)


def foreign_codes(fmt, x: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        return x.astype(DTYPES[fmt]).view(np.uint8 if fmt.bits <= 8 else np.uint16)


def assert_codes_equal_ml_dtypes(fmt, x: np.ndarray) -> None:
    codes = encoded(fmt, x, **_ieee(fmt))
    expected = foreign_codes(fmt, x)
    if isinstance(fmt, FloatFormat) and fmt.nan_code is None:
        codes, expected, x = (v[~np.isnan(x)] for v in (codes, expected, x))
    elif fmt in (c.FP16, c.BF16):
        # Payloads of NaN are not part of the contract.
        is_nan = np.isnan(x)
        assert np.isnan(float32(codes[is_nan].view(DTYPES[fmt]))).all()
        codes, expected, x = (v[~is_nan] for v in (codes, expected, x))
    wrong = codes != expected
    if fmt == c.E8M0:
        # ml_dtypes rounds subnormal numbers above 2^-127 to 2^-126, although 2^-127 is nearer.
        wrong &= ~((x > 2.0**-127) & (x < 1.5 * 2.0**-127))
    assert not wrong.any(), (x[wrong][:8], codes[wrong][:8], expected[wrong][:8])


def _ieee(fmt) -> dict:
    return {"overflow": "ieee"} if isinstance(fmt, FloatFormat) else {}


@pytest.mark.parametrize("fmt", DTYPES, **by_name)
@pytest.mark.parametrize("inputs", [ALL_FLOAT16, ALL_BFLOAT16], ids=["float16", "bfloat16"])
def test_every_16_bit_input_has_the_code_of_ml_dtypes(fmt, inputs):
    assert_codes_equal_ml_dtypes(fmt, float32(inputs))


@pytest.mark.parametrize("fmt", DTYPES, **by_name)
def test_a_sweep_of_float32_has_the_codes_of_ml_dtypes(fmt):
    bits = np.arange(0, 2**32, STRIDE, dtype=np.uint64).astype(np.uint32)
    assert_codes_equal_ml_dtypes(fmt, bits.view(np.float32))


def every_float32():
    chunk = np.arange(2**24, dtype=np.uint32)
    return ((chunk + np.uint32(start)).view(np.float32) for start in range(0, 2**32, 2**24))


@pytest.mark.slow
@pytest.mark.parametrize("fmt", DTYPES, **by_name)
def test_every_float32_has_the_code_of_ml_dtypes(fmt):
    for x in every_float32():
        assert_codes_equal_ml_dtypes(fmt, x)


@pytest.mark.slow
@pytest.mark.parametrize("fmt", [FORMATS["int4"], FORMATS["int8"]], **by_name)
def test_every_float32_has_the_integer_of_numpy(fmt):
    for x in every_float32():
        integers = np.clip(
            np.rint(np.nan_to_num(x, nan=0, posinf=999, neginf=-999)), -fmt.max, fmt.max
        )
        assert np.array_equal(
            encode(fmt, jnp.asarray(x)), integers.astype(np.int8).view(np.uint8) & (2**fmt.bits - 1)
        )


@pytest.mark.parametrize("fmt", GFLOAT, **by_name)
def test_values_and_midpoints_and_their_neighbours_round_like_gfloat(fmt):
    x = gold.boundary_inputs(fmt.name)
    expected = gfloat.round_ndarray(GFLOAT[fmt], x.astype(np.float64), sat=True)
    values = np.asarray(round_to(fmt, jnp.asarray(x), overflow="satfinite"))
    assert np.array_equal(values, expected)
    assert np.array_equal(np.signbit(values), np.signbit(expected))


@pytest.mark.parametrize("fmt", GFLOAT, **by_name)
def test_arrays_equal_scalars_at_the_boundaries(fmt):
    x = np.concatenate([gold.boundary_inputs(fmt.name), np.float32([0, -0.0, 1e-45, 3e38])])
    assert encoded(fmt, x).tolist() == [fmt.encode(v) for v in x.tolist()]


@pytest.mark.parametrize("fmt", GFLOAT, **by_name)
@pytest.mark.parametrize("overflow", ["ieee", "sat", "satfinite"])
def test_arrays_equal_scalars_where_numbers_overflow(fmt, overflow):
    x = gold.boundary_inputs(fmt.name)
    x = np.append(x[np.abs(x) > 0.9 * fmt.max], np.float32([3e38, np.inf, -np.inf]))
    codes = encoded(fmt, x, overflow=overflow)
    assert codes.tolist() == [fmt.encode(v, overflow=overflow) for v in x.tolist()]


@pytest.mark.parametrize("fmt", ELEMENTS, **by_name)
def test_arrays_equal_scalars_on_a_sweep_of_float16(fmt):
    x = float32(ALL_FLOAT16[::61])
    x = x[~np.isnan(x)]
    assert encoded(fmt, x).tolist() == [fmt.encode(v) for v in x.tolist()]


@pytest.mark.parametrize("fmt", ELEMENTS, **by_name)
def test_arrays_equal_scalars_next_to_every_tie_of_integers_and_tables(fmt):
    if isinstance(fmt, FloatFormat):
        pytest.skip("floats have a test of their own")
    if isinstance(fmt, TableFormat):
        ties = np.float32(fmt.thresholds)
    else:
        ties = np.float32((np.arange(-130, 300) + 0.5) * fmt.unit)
    x = np.concatenate([ties, np.nextafter(ties, np.float32(-1e9)), np.nextafter(ties, ties + 1)])
    x = np.concatenate([x, np.float32([0, -0.0, 1e-45, -1e-45, 1e9, -1e9, np.inf, -np.inf])])
    assert encoded(fmt, x).tolist() == [fmt.encode(v) for v in x.tolist()]


@pytest.mark.parametrize("fmt", [*ELEMENTS, c.E8M0], **by_name)
def test_every_code_decodes_to_the_scalar_value(fmt):
    codes = np.arange(2**fmt.bits, dtype=np.uint8)
    values = np.asarray(decode(fmt, jnp.asarray(codes)))
    expected = np.array(fmt.values, np.float32)
    assert np.array_equal(values, expected, equal_nan=True)
    assert np.array_equal(np.signbit(values), np.signbit(expected))


@pytest.mark.parametrize("fmt", [c.FP16, c.BF16], **by_name)
def test_every_16_bit_code_decodes_exactly(fmt):
    codes = np.arange(2**16, dtype=np.uint16)
    values = np.asarray(decode(fmt, jnp.asarray(codes)))
    assert np.array_equal(values, float32(codes.view(DTYPES[fmt])), equal_nan=True)


def test_float32_passes_through():
    x = jnp.float32([1.5, -0.0, 1e-45, np.inf])
    assert encode(c.FP32, x).dtype == jnp.uint32
    # Compared as integers, because this test is not about arithmetic on subnormal numbers.
    assert np.array_equal(encode(c.FP32, round_to(c.FP32, x)), np.asarray(x).view(np.uint32))


@pytest.mark.parametrize("fmt", SOME, **by_name)
def test_rounding_of_elements_equals_encode_and_decode(fmt):
    bits = np.arange(0, 2**32, 4801, dtype=np.uint64).astype(np.uint32)
    x = bits.view(np.float32)
    x = jnp.asarray(x[~np.isnan(x)])
    values = np.asarray(jax.jit(round_element, static_argnums=0)(fmt, x))
    expected = np.asarray(round_to(fmt, x, **_satfinite(fmt)))
    assert np.array_equal(values.view(np.uint32), expected.view(np.uint32))


def _satfinite(fmt) -> dict:
    return {"overflow": "satfinite"} if isinstance(fmt, FloatFormat) else {}


@pytest.mark.parametrize(
    "fmt", [c.E2M1, c.E4M3, c.E5M2, c.NF4, FORMATS["int4"], c.FP16, c.E8M0], **by_name
)
def test_eager_compiled_mapped_and_fused_casts_are_identical(fmt):
    x = jnp.asarray(float32(ALL_FLOAT16[::16])).reshape(8, -1)
    compiled = encode(fmt, x)
    with jax.disable_jit():
        eager = encode(fmt, x)
    mapped = jax.vmap(lambda row: encode(fmt, row))(x)
    fused = jax.jit(lambda x: encode(fmt, (x * 2.0) * 0.5) + jnp.zeros_like(compiled))(x)
    for other in (eager, mapped, fused):
        assert np.array_equal(compiled, other)


def test_nan_without_a_code_saturates_or_is_zero():
    nan = jnp.float32([np.nan, -np.nan])
    assert encode(c.E2M1, nan).tolist() == [7, 15]
    assert encode(c.NF4, nan).tolist() == [15, 0]
    assert encode(FORMATS["int4"], nan).tolist() == [0, 0]


def test_codes_take_the_smallest_type():
    x = jnp.float32([1.0])
    assert [encode(f, x).dtype for f in (c.E4M3, c.FP16, c.FP32)] == [
        jnp.uint8,
        jnp.uint16,
        jnp.uint32,
    ]


@settings(deadline=None, derandomize=True, max_examples=50)
@given(patterns=st.lists(st.integers(0, 2**32 - 1), min_size=64, max_size=64))
@pytest.mark.parametrize("fmt", [c.E2M1, c.E3M2, c.E5M2, FORMATS["int5"]], **by_name)
def test_rounding_is_monotone_idempotent_odd_and_within_half_a_gap(fmt, patterns):
    x = np.sort(float32(np.array(patterns, np.uint32).view(np.float32)))
    x = np.where(np.isfinite(x), x, np.float32(1))
    x.sort()
    values = np.asarray(round_to(fmt, jnp.asarray(x)))
    assert (np.diff(values) >= 0).all()
    assert np.array_equal(round_to(fmt, jnp.asarray(values)), values)
    assert np.array_equal(round_to(fmt, jnp.asarray(-x)), -values)
    grid = np.unique(np.array(_reachable(fmt), np.float64))
    inside = (x >= grid[0]) & (x <= grid[-1])
    nearest = np.abs(grid[:, None] - x[inside].astype(np.float64)).min(axis=0)
    assert np.array_equal(np.abs(values[inside] - x[inside].astype(np.float64)), nearest)


def _reachable(fmt) -> list[float]:
    values = [v for v in fmt.values if np.isfinite(v)]
    return [v for v in values if v >= fmt.min] if isinstance(fmt, IntFormat) else values


def test_a_format_that_is_not_one_is_refused():
    with pytest.raises(TypeError, match=r"^e8m0 is a scale format, not an element format$"):
        round_element(c.E8M0, jnp.float32([1.0]))
