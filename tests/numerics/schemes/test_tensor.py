"""Quantization of tensors against the independent reference in ``gold.py``."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _helpers import gold
from hypothesis import given, settings
from hypothesis import strategies as st

from numerics import CATALOG, ElementScheme, fake_quantize, parse_scheme, quantize

TEXTS = (
    "int8:channel",
    "int8:token:fp32",
    "int4:tensor:bf16",
    "int4:g7:fp32",
    "int8:asym:token:fp32",
    "int4:asym:g64:bf16",
    "int4_full:g128:fp16",
    "int8:floatmin:g32:fp32",
    "int3:floatmin:g40:bf16",
    "int8:g32:e8m0",
    "int4:g64:e8m0:rceil",
    "fp8_e4m3:tensor:fp32",
    "fp8_e5m2:token:bf16",
    "fp4:g16:e4m3",
    "fp4:g48:e4m3:two-level",
    "int4:g16:e4m3:two-level",
    "nf4:g128:fp16",
    "ternary:channel:fp32",
    "ternary:absmax",
)
#: Schemes that share every line of code with a neighbour.
IN_BETWEEN = {
    *(f"int{n}{suffix}" for n in (2, 3, 5, 6, 7) for suffix in ("", "-asym")),
    "fp6_e2m3",
    "mxfp6_e2m3",
    "mxfp6_e3m2-rceil",
    "mxfp4:rfloor",
    "mxfp8_e4m3:rnearest",
    "mxint8:rfloor",
    "mxint8:rnearest",
    "mxfp6_e3m2:rnearest",
    "mxfp8_e4m3",
    *(f"fp8_{name}" for name in ("e4m3_all", "e4m3_ieee", "e4m3b11fnuz", "e3m4", "e5m2fnuz")),
    "fp4_e1m2", "fp5_e2m2", "fp5_e3m1", "flint3", "flint5", "apot4", "dint3", "nf2", "nf3",
    *(f"mx{name}-{rule}" for rule in ("ceil", "even", "rceil")
      for name in ("fp6_e2m3", "fp6_e3m2", "fp8_e5m2", "fp8_e4m3")),
    "mxint8-ceil", "mxint8-even", "mxfp8_e5m2", "fp8_e4m3fnuz", "pot5", "nf4:g128:fp16",
    "int8:g32:e8m0", "int8:floatmin:g32:fp32", "int8:channel", "int4:tensor:bf16",
    "fp8_e5m2:token:bf16", "fp8_e5m2", "fp4_e3m0", "pot4_log", "int4_full:g128:fp16",
    "int4:asym:g64:bf16", "int3:floatmin:g40:bf16", "zqfp4-m1-floor", "zqfp4-m1-nearest",
    "apot3", "apot5", "pot3", "dint5", "dint6", "dint7", "dint8", "int8", "mxfp6_e3m2",
    "int4:g16:e4m3:two-level",
}  # fmt: skip
REPRESENTATIVE = (
    "int4",
    "int8-asym",
    "int4-floatmin",
    "fp4",
    "nf4",
    "mxfp4",
    "mxint8-rceil",
    "nvfp4",
)
#: Mixtures have tests of their own.
ELEMENT_SCHEMES = [n for n, e in CATALOG.items() if isinstance(e.scheme, ElementScheme)]
SCHEMES = [
    pytest.param(text, marks=[pytest.mark.slow] * (text in IN_BETWEEN))
    for text in (*ELEMENT_SCHEMES, *TEXTS)
]


def bits(x) -> np.ndarray:
    x = np.asarray(x)
    return x.view({1: np.uint8, 2: np.uint16, 4: np.uint32}[x.dtype.itemsize])


def same_bits(x, y) -> bool:
    return np.asarray(x).dtype == np.asarray(y).dtype and np.array_equal(bits(x), bits(y))


@pytest.fixture(scope="session")
def blocks():
    return gold.block_sets()


@pytest.mark.parametrize("text", SCHEMES)
def test_scales_codes_and_values_equal_the_reference(text, blocks):
    scheme = parse_scheme(text)
    for name, x in blocks.items():
        q, expected = quantize(jnp.asarray(x), scheme), gold.quantize(x, scheme)
        for field in ("scales", "zero_points", "minimums"):
            actual, wanted = getattr(q, field), getattr(expected, field)
            assert (actual is None) == (wanted is None), (name, field)
            # Side data of poisoned groups other than the scale is unspecified.
            known = ~np.isnan(expected.scales.astype(np.float32))
            if field == "scales" and actual is not None:
                assert np.array_equal(np.isnan(np.asarray(actual).astype(np.float32)), ~known)
            if actual is not None:
                wrong = (bits(actual) != bits(wanted)) & known
                assert not wrong.any(), (name, field, np.asarray(actual)[wrong], wanted[wrong])
        wrong = np.asarray(q.codes) != expected.codes
        assert not wrong.any(), (name, x[wrong], np.asarray(q.codes)[wrong], expected.codes[wrong])
        values = np.asarray(q.dequantize())
        assert same_bits(values, expected.values), (name, values, expected.values)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(t, marks=[pytest.mark.slow] * (t not in REPRESENTATIVE))
        for t in (*ELEMENT_SCHEMES, *TEXTS)
    ],
)
def test_fake_quantize_equals_the_round_trip_in_every_bit(text, blocks):
    scheme = parse_scheme(text)
    for name, x in blocks.items():
        values = fake_quantize(jnp.asarray(x), scheme)
        assert same_bits(values, quantize(jnp.asarray(x), scheme).dequantize()), name


#: Random matrix with the shape of the block sets, so that all tests of a scheme compile once.
X = np.random.default_rng(3).standard_normal((16, 288)).astype(np.float32)


def slow(*texts):
    """Mark schemes whose arithmetic another one of the same test has."""
    return [pytest.param(text, marks=pytest.mark.slow) for text in texts]


@pytest.mark.parametrize("text", ["nvfp4", *slow("int8-asym", "mxfp4")])
def test_eager_results_are_the_compiled_ones(text):
    scheme, x = parse_scheme(text), jnp.asarray(X[:, :128])
    with jax.disable_jit():
        eager = fake_quantize(x, scheme)
    assert same_bits(eager, fake_quantize(x, scheme))


@pytest.mark.parametrize("text", ["int4-floatmin", "mxfp4", *slow("int4")])
def test_mapped_results_are_those_of_the_rows(text):
    scheme, x = parse_scheme(text), jnp.asarray(X)
    mapped = jax.vmap(lambda row: quantize(row, scheme))(x)
    assert same_bits(mapped.codes, quantize(x, scheme).codes)
    assert same_bits(mapped.scales, quantize(x, scheme).scales)
    values = jax.vmap(lambda row: fake_quantize(row, scheme))(x)
    assert same_bits(values, fake_quantize(x, scheme))


@pytest.mark.parametrize(
    "text",
    [
        *("int8-asym", "int4-floatmin", "mxfp4", "nvfp4", "ternary:fp32"),
        *slow("int4", "fp4", "nf4", "mxint8-rceil", "int8:floatmin:g32:fp32"),
    ],
)
def test_results_inside_a_larger_function_are_the_same(text):
    scheme, x = parse_scheme(text), jnp.asarray(X)

    def fused(x):
        same = (x * 2.0) * 0.5
        return fake_quantize(same, scheme) - x, quantize(same, scheme).dequantize() + 0.1

    error, shifted = jax.jit(fused)(x)
    values = np.asarray(fake_quantize(x, scheme))
    assert same_bits(error, values - X)
    assert same_bits(shifted, values + np.float32(0.1))


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("mxfp4", 200),
        ("ternary:g64", 288),
        pytest.param("int4-asym:g64", 288, marks=pytest.mark.slow),
    ],
)
def test_a_shorter_last_group_is_quantized_on_its_own(text, width):
    scheme, x = parse_scheme(text), jnp.asarray(X[:, :width])
    full = width // scheme.group_size * scheme.group_size
    parts = [fake_quantize(part, scheme) for part in (x[:, :full], x[:, full:])]
    assert same_bits(fake_quantize(x, scheme), np.concatenate(parts, axis=1))
    assert quantize(x, scheme).scales.shape == (16, -(-width // scheme.group_size))


@pytest.mark.parametrize(
    "text", ["mxfp4", "int8:asym:channel", *slow("int4:g64", "int8:token:fp32")]
)
@pytest.mark.parametrize("shape", [(2, 8, 288), *slow((4608,), (1, 2, 8, 288))])
def test_any_rank_is_quantized_along_the_last_axis(text, shape):
    scheme = parse_scheme(text)
    x = jnp.asarray(X.reshape(shape))
    q = quantize(x, scheme)
    assert q.shape == shape == q.dequantize().shape
    assert q.scales.shape == scheme.scale_shape(shape)
    rows = fake_quantize(x.reshape(-1, shape[-1]), scheme)
    assert same_bits(fake_quantize(x, scheme), np.asarray(rows).reshape(shape))


def test_one_scale_per_tensor_is_the_same_in_any_shape():
    scheme = parse_scheme("int8:tensor:fp32")
    flat = fake_quantize(jnp.asarray(X.reshape(-1)), scheme)
    assert same_bits(fake_quantize(jnp.asarray(X), scheme).reshape(-1), flat)
    assert quantize(jnp.asarray(X), scheme).scales.shape == (1, 1)


def test_a_group_longer_than_the_rows_is_the_row():
    x = jnp.asarray(X)
    assert same_bits(
        fake_quantize(x, parse_scheme("int4:g4096")), fake_quantize(x, parse_scheme("int4:channel"))
    )


def test_quantized_tensors_pass_through_compiled_functions():
    q = quantize(jnp.asarray(X), parse_scheme("int4-asym:g64"))
    again = jax.jit(lambda q: q)(q)
    assert again.scheme == q.scheme
    assert same_bits(again.dequantize(), q.dequantize())
    assert len(jax.tree.leaves(q)) == 3
    assert q.bits_per_weight() == q.scheme.bits_per_weight(q.shape)


@pytest.mark.parametrize("text", REPRESENTATIVE)
def test_codes_fit_the_bits_of_the_element(text):
    scheme = parse_scheme(text)
    q = quantize(jnp.asarray(X), scheme)
    assert q.codes.dtype == jnp.uint8
    assert int(q.codes.max()) < 2**scheme.element.bits


@pytest.mark.parametrize(
    "text", ["int4", "fp4", "nf4", "mxfp4-rceil", "int8-asym", "int4-floatmin"]
)
def test_values_lie_within_half_a_step_of_the_input(text):
    scheme = parse_scheme(text)
    x = jnp.asarray(X)
    q = quantize(x, scheme)
    scales = np.asarray(q.scales).astype(np.float64)
    size = scheme.group_size
    steps = np.repeat(scales, size, axis=1)[:, :288]
    grid = np.unique([v for v in scheme.element.values if v >= scheme.element.min])
    widest = np.diff(grid).max()
    # Error in steps: half by rounding, at most another half by the rounding of the scale (2^-11 of
    # the range, at most 255 steps). MX scales are exact and nothing saturates.
    slack = 0.5 * widest + (grid[-1] - grid[0]) * 2.0**-10
    assert (np.abs(np.asarray(q.dequantize(), np.float64) - X) <= steps * slack).all()


def test_other_types_than_float32_are_refused():
    for x, name in ((jnp.ones(3, jnp.bfloat16), "bfloat16"), (jnp.ones(3, jnp.int32), "int32")):
        with pytest.raises(TypeError, match=rf"^x is {name}, not float32; convert it first$"):
            fake_quantize(x, parse_scheme("int4"))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_tensors_without_values_are_refused(shape):
    message = rf"^x of shape {re.escape(str(shape))} has no values along a last axis to quantize$"
    with pytest.raises(ValueError, match=message):
        quantize(jnp.ones(shape, jnp.float32), parse_scheme("int4"))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(patterns=st.lists(st.integers(0, 2**32 - 1), min_size=64, max_size=64))
@pytest.mark.parametrize("text", ["fp4:g32", "mxfp8_e4m3", "int4-asym:g32", "nvfp4"])
def test_any_bits_quantize_like_the_reference(text, patterns):
    x = np.array(patterns, np.uint32).view(np.float32).reshape(2, 32)
    scheme = parse_scheme(text)
    values = np.asarray(fake_quantize(jnp.asarray(x), scheme))
    assert np.array_equal(values, gold.quantize(x, scheme).values, equal_nan=True)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), shift=st.integers(-40, 40))
@pytest.mark.parametrize("text", ["mxfp4", "mxint8-rceil", "fp4:g32:fp32", "int4:g32:fp32"])
def test_scaling_by_powers_of_two_scales_the_values(text, seed, shift):
    x = np.random.default_rng(seed).standard_normal((2, 32)).astype(np.float32)
    scheme, factor = parse_scheme(text), np.float32(2.0**shift)
    scaled = fake_quantize(jnp.asarray(x * factor), scheme)
    assert same_bits(scaled, np.asarray(fake_quantize(jnp.asarray(x), scheme)) * factor)
