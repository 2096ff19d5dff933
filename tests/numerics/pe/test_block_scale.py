"""Dot products with block scales, against fractions and against the schemes' values."""

import dataclasses
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from numerics import FORMATS, SCHEMES
from numerics.pe.block_scale import BlockScaled
from numerics.pe.exact_dot import integer_table

FP4, E4M3, INT4, INT8, FP16 = (
    FORMATS[name] for name in ("fp4_e2m1", "fp8_e4m3", "int4", "int8", "fp16")
)
NVFP4 = BlockScaled(weights=FP4, activations=FP4, scales=(E4M3, E4M3), block=16)
#: Codes of the largest magnitudes: 448, -128 and 65504.
LARGEST = {"fp8_e4m3": 0x7E, "int8": 0x80, "fp16": 0x7BFF}
KINDS = [
    NVFP4,
    BlockScaled(weights=INT4, activations=INT8, scales=(FP16,), block=32),
    BlockScaled(weights=INT4, activations=INT8, scales=(INT8,), block=32),
]


def random_codes(random, kind, rows, blocks):
    length = blocks * kind.block
    formats = (kind.weights, kind.activations)
    elements = [random.integers(0, 2**fmt.bits, (rows, length)) for fmt in formats]
    return *elements, [random.integers(0, 2**fmt.bits, (rows, blocks)) for fmt in kind.scales]


def number(fmt, code):
    value = fmt.decode(int(code))
    return Fraction(value) if np.isfinite(value) else Fraction(0)


@pytest.mark.parametrize("kind", KINDS)
def test_sums_are_those_of_fractions(kind):
    weights, codes, scales = random_codes(np.random.default_rng(0), kind, 20, 2)
    found = kind.dots(weights, codes, scales)
    for row in range(20):
        total = Fraction(0)
        for i in range(2 * kind.block):
            product = number(kind.weights, weights[row, i])
            product *= number(kind.activations, codes[row, i])
            for fmt, of_blocks in zip(kind.scales, scales, strict=True):
                product *= number(fmt, of_blocks[row, i // kind.block])
            total += product
        assert found[row] * Fraction(kind.unit) == total
        of_row = [of_blocks[row].tolist() for of_blocks in scales]
        assert kind.dot(weights[row].tolist(), codes[row].tolist(), of_row) == found[row]


def test_nvfp4_is_the_dot_product_of_the_scheme_s_values():
    random = np.random.default_rng(1)
    quantized = SCHEMES["nvfp4"].quantize(jnp.float32(random.normal(size=(16, 64))))
    # Without the tensor's scale values have 8 bits, so float64 holds the dot products exactly.
    arrays = {**quantized.arrays, "tensor_scale": jnp.float32(1)}
    values = np.float64(dataclasses.replace(quantized, arrays=arrays).dequantize())
    codes, scales = np.asarray(quantized.codes), np.asarray(quantized.scales).view(np.uint8)
    found = NVFP4.dots(codes[:8], codes[8:], [scales[:8], scales[8:]])
    assert np.array_equal(found * NVFP4.unit, (values[:8] * values[8:]).sum(axis=1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_width_holds_the_extremes_and_no_less(kind):
    length = 2 * kind.block
    largest, bits = kind.largest_sum(length), kind.sum_bits(length)
    tables = [np.array(integer_table(fmt)) for fmt in (kind.weights, kind.activations)]
    codes = [np.full((1, length), abs(table).argmax()) for table in tables]
    scales = [np.full((1, 2), LARGEST[fmt.name]) for fmt in kind.scales]
    assert abs(kind.dots(*codes, scales).item()) == largest < 2 ** (bits - 1) <= 2 * largest


def test_a_nan_scale_counts_as_zero():
    ones = np.full((1, 16), 2)
    one, nan = np.array([[0x38]]), np.array([[0x7F]])
    assert NVFP4.dots(ones, ones, [one, one]).item() * NVFP4.unit == 16.0
    assert NVFP4.dots(ones, ones, [nan, one]).item() == 0
    assert NVFP4.dot([2] * 16, [2] * 16, [[0x38], [0x7F]]) == 0


def test_what_does_not_fit_is_refused():
    weights, codes, scales = random_codes(np.random.default_rng(2), KINDS[1], 1, 256)
    with pytest.raises(ValueError, match="don't fit in 64 bits; take shorter rows"):
        KINDS[1].dots(weights, codes, scales)
    with pytest.raises(ValueError, match=r"^scales must have shape \(1, 2\), .* not \(1, 1\)$"):
        KINDS[1].dots(weights[:, :33], codes[:, :33], [s[:, :1] for s in scales])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blocks", [1, 3])
def test_a_last_block_may_be_shorter(kind, blocks):
    weights, codes, scales = random_codes(np.random.default_rng(3), kind, 5, blocks)
    weights, codes = weights[:, :-5], codes[:, :-5]
    found = kind.dots(weights, codes, scales)
    for row in range(5):
        of_row = [of_blocks[row].tolist() for of_blocks in scales]
        assert kind.dot(weights[row].tolist(), codes[row].tolist(), of_row) == found[row]
