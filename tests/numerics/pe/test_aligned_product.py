"""Matrix products through BitMoD's PE: each group against its plain definition."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import QuantizedTensor, parse_scheme, quantize
from numerics.pe.aligned_product import AlignedMatrix, aligned_product, check_aligned
from numerics.pe.models import ALIGNED

RANDOM = np.random.default_rng(7)
#: Rows end within a group, and groups within a beat.
LENGTH, GROUP = 50, 18


def product(x, weight, name):
    return np.asarray(
        aligned_product(jnp.asarray(x), AlignedMatrix(weight=weight, pe=ALIGNED[name]))
    )


def matrix(name, rows, length=LENGTH, group=GROUP):
    weights = RANDOM.normal(size=(rows, length)).astype(np.float32)
    return quantize(jnp.asarray(weights), parse_scheme(scheme_of(name), group_size=group))


def scheme_of(name):
    return name.rsplit("-", 1)[0] if "fp" in name else name.split("-")[1]


def activations(rows, length=LENGTH):
    """Numbers of all sizes that FP16 has, subnormal and zero ones among them."""
    sizes = np.exp2(RANDOM.integers(-26, 15, (rows, length)))
    x = RANDOM.normal(size=(rows, length)) * sizes * (RANDOM.random((rows, length)) > 0.1)
    return x.astype(np.float32)


def expected(x, weight, name):
    """Return the definition: the scalar PE for each group, then float32 for scales and sums."""
    pe, (rows, length) = ALIGNED[name], weight.shape
    group = weight.scheme.group_size
    codes = np.clip(x, -65504, 65504).astype(np.float16).view(np.uint16).astype(int)
    scales = np.asarray(weight.scales).astype(np.float32)
    total = np.zeros((len(x), rows), np.float32)
    for token, row in np.ndindex(total.shape):
        for index, start in enumerate(range(0, length, group)):
            ours = weight_codes(weight)[row, start : start + group].tolist()
            theirs = codes[token, start : start + group].tolist()
            rest = [0] * (-len(ours) % pe.lanes)
            value = pe.value(pe.group(ours + rest, theirs + rest))
            assert Fraction(float(np.float32(float(value)))) == value
            total[token, row] += np.float32(float(value)) * scales[row, index]
    return total


def weight_codes(weight):
    codes = np.asarray(weight.codes).astype(int)
    if "selectors" not in weight.arrays:
        return codes
    selectors = np.repeat(np.asarray(weight.arrays["selectors"]), weight.scheme.group_size, axis=1)
    return codes + (selectors[:, : codes.shape[1]].astype(int) << weight.scheme.weight_bits)


@pytest.mark.parametrize("name", ALIGNED)
def test_products_are_the_definition(name):
    weight, x = matrix(name, 3), activations(4)
    assert np.array_equal(
        product(x, weight, name).view(np.int32), expected(x, weight, name).view(np.int32)
    )


@pytest.mark.slow
def test_truncation_differs_from_rounding_and_from_the_exact_product():
    weight, x = matrix("bitmod-fp4-aligned", 16), activations(16)
    exact = x @ np.asarray(weight.dequantize()).T
    cut, nearest = (product(x, weight, f"bitmod-fp4-{kind}") for kind in ("aligned", "nearest"))
    noise = [np.square(each - exact).sum() / np.square(exact).sum() for each in (cut, nearest)]
    assert 0 < noise[1] < noise[0] < 1e-3


def test_a_product_inside_a_larger_computation_has_the_same_bits():
    name = "bitmod-int8-aligned"
    weight, x = matrix(name, 5), activations(6)
    one = product(x, weight, name)

    @jax.jit
    def twice(x, matrix):
        return aligned_product(x[::-1], matrix) * 2, aligned_product(x, matrix)

    backwards, again = twice(jnp.asarray(x), AlignedMatrix(weight=weight, pe=ALIGNED[name]))
    assert np.array_equal(np.asarray(again).view(np.int32), one.view(np.int32))
    assert np.array_equal(np.asarray(backwards)[::-1].view(np.int32), (one * 2).view(np.int32))


def test_poisoned_groups_stay_poisoned_and_large_activations_saturate():
    weight = matrix("bitmod-int4-aligned", 2)
    scales = np.asarray(weight.scales).copy()
    scales[1, 0] = np.nan
    poisoned = QuantizedTensor(
        arrays={**weight.arrays, "scales": jnp.asarray(scales)}, scheme=weight.scheme,
        shape=weight.shape,
    )  # fmt: skip
    x = np.full((1, LENGTH), 1e30, np.float32)
    found = product(x, poisoned, "bitmod-int4-aligned")
    assert (
        np.isnan(found[0, 1])
        and found[0, 0] == product(x * 0 + 65504, weight, "bitmod-int4-aligned")[0, 0]
    )


@pytest.mark.parametrize(
    "scheme,name,words",
    [
        ("int4", "bitmod-fp4-aligned", "codes of bitmod-fp4, with one scale a group; int4:g128"),
        ("bitmod-fp4-er", "bitmod-fp4-aligned", "bitmod-fp4-er has others"),
        ("int8:asym", "bitmod-int8-aligned", "has others"),
        ("int8", "bitmod-int4-aligned", "codes of int4"),
        ("bitmod-fp4:g65536", "bitmod-fp4-aligned", "32768 cycles; 8192 are proved"),
    ],
)
def test_weights_that_a_pe_does_not_read_are_refused(scheme, name, words):
    with pytest.raises(ValueError, match=words):
        check_aligned(parse_scheme(scheme), ALIGNED[name], 1 << 20)
