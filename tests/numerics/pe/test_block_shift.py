"""Dot products with power-of-two block scales, against fractions and the MX scheme's values."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from numerics import FORMATS, SCHEMES
from numerics.pe.block_shift import BlockShifted
from numerics.pe.exact_dot import exact_dot

FP4, INT4, INT8 = (FORMATS[name] for name in ("fp4_e2m1", "int4", "int8"))
MXFP4 = BlockShifted(weights=FP4, activations=FP4, scales=2, block=32)
MIXPE = BlockShifted(weights=INT4, activations=INT8, scales=1, block=32, shifts=16)
ROWS, BLOCKS = 40, 3


def random_codes(random, kind, low, high):
    elements = [
        random.integers(0, 2**fmt.bits, (ROWS, BLOCKS * kind.block))
        for fmt in (kind.weights, kind.activations)
    ]
    return *elements, [random.integers(low, high, (ROWS, BLOCKS)) for _ in range(kind.scales)]


def exact(kind, weights, codes, scales, lowest):
    """Return the exact sum of a row, without a window, as a fraction of the result's unit."""
    total = Fraction(0)
    for block in range(BLOCKS):
        part = slice(block * kind.block, (block + 1) * kind.block)
        inner = exact_dot(kind.weights, kind.activations, weights[part], codes[part])
        total += inner * Fraction(2) ** (sum(row[block] for row in scales) - lowest)
    return total


@pytest.mark.parametrize("kind", [MXFP4, MIXPE])
def test_in_the_window_all_is_exact_and_below_it_off_by_less_than_a_unit(kind):
    random = np.random.default_rng(0)
    weights, codes, scales = random_codes(random, kind, 120, 128)
    lowest = random.integers(112 * kind.scales, 126 * kind.scales, ROWS)
    found = kind.dots(weights, codes, scales, lowest)
    exact_ones = 0
    for row in range(ROWS):
        of_row = [part[row].tolist() for part in (weights, codes)]
        of_blocks, low = [s[row].tolist() for s in scales], int(lowest[row])
        assert kind.dot(*of_row, of_blocks, low) == found[row]
        difference = exact(kind, *of_row, of_blocks, low) - int(found[row])
        is_exact = kind.is_exact(of_blocks, low)
        exact_ones += is_exact
        assert difference == 0 if is_exact else 0 <= difference < BLOCKS
    assert 0 < exact_ones < ROWS


def test_every_shift_and_nan_scales():
    codes = np.arange(256)
    elements = np.full((256, 32), 7), np.full((256, 32), 131)
    for lowest in (0, 100, 255):
        low = np.full(256, lowest)
        found = MIXPE.dots(*elements, [codes[:, None]], low)
        for code in codes.tolist():
            assert MIXPE.dot([7] * 32, [131] * 32, [[code]], lowest) == found[code]
            inner = 32 * 7 * (131 - 256)
            factor = Fraction(2) ** min(code - lowest, MIXPE.shifts - 1)
            wanted = int(inner * factor // 1) if code != 255 else 0
            assert found[code] == wanted


def test_mxfp4_is_the_dot_product_of_the_scheme_s_values():
    random = np.random.default_rng(1)
    scheme = SCHEMES["mxfp4"]
    quantized = scheme.quantize(jnp.float32(random.normal(size=(16, 96))))
    values = np.float64(quantized.dequantize())
    codes, scales = np.asarray(quantized.codes), np.asarray(quantized.scales).view(np.uint8)
    of_blocks = [scales[:8].reshape(8, 3), scales[8:].reshape(8, 3)]
    lowest = sum(part.astype(int).min() for part in of_blocks)
    found = MXFP4.dots(codes[:8], codes[8:], of_blocks, np.full(8, lowest))
    # Values have 3 bits and scales span few binades, so float64 holds the sums exactly.
    assert np.array_equal(found * MXFP4.unit(int(lowest)), (values[:8] * values[8:]).sum(axis=1))


@pytest.mark.parametrize("kind,codes", [(MXFP4, (7, 15)), (MIXPE, (8, 128))])
def test_the_width_holds_the_extremes_and_no_less(kind, codes):
    length = BLOCKS * kind.block
    elements = [np.full((1, length), code) for code in codes]
    found = kind.dots(*elements, [np.full((1, BLOCKS), 254)] * kind.scales, np.array([0]))
    largest, bits = kind.largest_sum(length), kind.sum_bits(length)
    assert abs(found.item()) == largest < 2 ** (bits - 1) <= 2 * largest


def test_wide_windows_are_refused():
    wide = BlockShifted(weights=FP4, activations=FP4, scales=1, block=32, shifts=64)
    codes = np.zeros((1, 32), int)
    with pytest.raises(ValueError, match="take a smaller window"):
        wide.dots(codes, codes, [np.zeros((1, 1), int)], np.zeros(1, int))
