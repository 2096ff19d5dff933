"""Exact dot products of quantized operands."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import grouped_dot, integers, parse_scheme, plan_dot, quantize, reference_dot

PAIRS = [
    ("int8:token:fp32", "int4"),
    ("int8:token:fp32", "fp4:g32:fp16"),
    ("int8:token:fp32", "int4-asym:g32"),
    ("int8:asym:token:fp32", "int4:asym:g16:fp32"),
    ("int8:tensor:fp32", "int8:channel:fp32"),
    ("int8:token:fp32", "ternary"),
    ("fp8_e4m3:token:fp32", "fp8_e4m3:channel"),
    ("fp8_e4m3:g32:fp32", "fp4:g16"),
    ("fp8_e5m2:token:fp32", "int4:g32"),
    ("fp6_e3m2:g96:fp32", "fp6_e3m2:g96:fp32"),
    ("mxfp4", "mxfp4"),
    ("mxfp8_e4m3", "mxfp4"),
    ("mxint8", "mxint8-rceil"),
    ("nvfp4", "nvfp4"),
    ("int4:g8:fp32", "nvfp4"),
    ("int4:g128:fp32", "int4:g256:fp32"),
]
ALIKE = {"mxfp4", "nvfp4"}


def tensor(rows: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, width)) * 2.0 ** rng.integers(-8, 8, (rows, 1))
    x[1, : width // 2] = 0
    return x.astype(np.float32)


def operands(pair: tuple[str, str], shrink: float = 1.0):
    a, w = (parse_scheme(text) for text in pair)
    return (
        quantize(jnp.asarray(tensor(3, 100, 1)), a),
        quantize(jnp.asarray(tensor(4, 100, 2) * np.float32(shrink)), w),
    )


def same_bits(x, y) -> bool:
    return np.array_equal(np.asarray(x).view(np.uint32), np.asarray(y).view(np.uint32))


#: Pairs tested by default; others differ only in widths and scales.
DIFFERENT = (1, 3, 6, 9, 11, 13)
ALL_PAIRS = [
    pytest.param(pair, marks=[pytest.mark.slow] * (i not in DIFFERENT))
    for i, pair in enumerate(PAIRS)
]


@pytest.mark.parametrize("pair", ALL_PAIRS, ids=" ".join)
def test_the_fast_product_equals_plain_python_in_every_bit(pair):
    for shrink in (1.0, 2.0**-120):
        a, w = operands(pair, shrink)
        assert same_bits(grouped_dot(a, w), reference_dot(a, w))


@pytest.mark.parametrize("pair", PAIRS[1::9], ids=" ".join)
def test_compiled_into_a_larger_function_it_is_the_same(pair):
    a, w = operands(pair)
    fused = jax.jit(lambda a, w: grouped_dot(a, w) - 1.5)(a, w)
    assert same_bits(fused, np.asarray(grouped_dot(a, w)) - np.float32(1.5))


@pytest.mark.parametrize("pair", ALL_PAIRS, ids=" ".join)
def test_it_is_the_product_of_the_dequantized_operands_but_for_float32_rounding(pair):
    a, w = operands(pair)
    x, y = (np.asarray(q.dequantize(), np.float64) for q in (a, w))
    # One rounding each for the integer, two scales and the sum, in at most 13 segments.
    bound = 4 * 13 * 2.0**-24 * (np.abs(x) @ np.abs(y).T)
    assert (np.abs(np.asarray(grouped_dot(a, w)) - x @ y.T) <= bound).all()


def test_integers_are_values_in_units():
    q = quantize(jnp.asarray(tensor(3, 100, 3)), parse_scheme("int4:asym:g32:fp32"))
    zeros = np.repeat(np.asarray(q.zero_points).astype(int), 32, axis=1)[:, :100]
    assert np.array_equal(integers(q), np.asarray(q.codes).astype(int) - zeros)


def test_long_sums_of_large_integers_are_still_exact():
    # 1535 times 127 * 127 plus 1 is odd and above 2^24: float32 could not sum it.
    scheme = parse_scheme("int8:tensor:fp32")
    x = np.full((1, 1536), 127, np.float32)
    y = x.copy()
    x[0, 0] = y[0, 0] = 1
    a, w = (quantize(jnp.asarray(v), scheme) for v in (x, y))
    assert plan_dot(a, w).pieces == 2
    expected = np.float32(1535 * 127 * 127 + 1)
    assert float(grouped_dot(a, w)[0, 0]) == expected


@pytest.mark.parametrize(
    ("pair", "precision", "pieces"),
    [
        (("int8:token:fp32", "int4"), "float32", 1),
        (("fp6_e3m2:g96:fp32", "fp6_e3m2:g96:fp32"), "float32", 2),
        (("fp8_e4m3:token:fp32", "int8"), "float64", 1),
    ],
)
def test_precision_follows_from_the_largest_sum(pair, precision, pieces):
    plan = plan_dot(*operands(pair))
    assert (plan.precision, plan.pieces) == (precision, pieces)


def test_extreme_integers_are_summed_exactly():
    # The largest and the smallest products of E4M3: their sum needs 42 bits before it is rounded.
    scheme = parse_scheme("fp8_e4m3:g128:fp32")
    x = np.full((1, 128), 448, np.float32)
    x[0, ::2] = 2.0**-9
    q = quantize(jnp.asarray(x), scheme)
    assert float(grouped_dot(q, q)[0, 0]) == np.float32(64 * 448.0**2 + 64 * 2.0**-18)


def test_poison_spreads_to_the_rows_that_it_touches():
    x = tensor(3, 100, 1)
    x[2, 70] = np.nan
    a = quantize(jnp.asarray(x), parse_scheme("mxfp8_e4m3"))
    w = quantize(jnp.asarray(tensor(4, 100, 2)), parse_scheme("mxfp4"))
    product = np.asarray(grouped_dot(a, w))
    assert np.isnan(product).tolist() == [[False] * 4, [False] * 4, [True] * 4]
    assert np.array_equal(product, reference_dot(a, w), equal_nan=True)


def refused(a: str, w: str, shape: tuple[int, int] = (3, 100)) -> str:
    x = jnp.ones((3, 100), jnp.float32)
    with pytest.raises(ValueError) as error:
        grouped_dot(quantize(x, parse_scheme(a)), quantize(jnp.ones(shape), parse_scheme(w)))
    return str(error.value)


def test_what_cannot_be_computed_exactly_is_refused_in_one_line():
    assert refused("int8:token:fp32", "nf4") == "values of nf4 are not integers times a unit"
    assert refused("int8:token:fp32", "int4-floatmin") == (
        "values of int4:g32:floatmin:fp16 are not integers times a scale; use asym, not floatmin"
    )
    assert refused("fp8_e5m2:token:fp32", "fp8_e5m2") == (
        "a dot product of 100 values of fp8_e5m2 and fp8_e5m2 needs 71 bits, more than the 53 of "
        "float64; use smaller groups or narrower formats"
    )
    assert refused("int4:g24", "int4:g32") == ("groups of 32 values can't be cut into groups of 24")
    assert re.fullmatch(
        r"operands must be \(m, k\) and \(n, k\), not \(3, 100\) and \(3, 90\)",
        refused("int4", "int4", (3, 90)),
    )
