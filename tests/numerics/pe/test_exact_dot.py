"""Exact dot products against fractions."""

from fractions import Fraction

import numpy as np
import pytest

from numerics import FORMATS
from numerics.pe.exact_dot import exact_dot, exact_dots, integer_table, largest_sum, sum_bits

PAIRS = [("int4", "int8"), ("fp4_e2m1", "fp8_e4m3"), ("dint4", "int8"), ("fp8_e4m3", "fp8_e4m3")]


@pytest.mark.parametrize("names", PAIRS)
def test_sums_are_those_of_fractions(names):
    weights, activations = (FORMATS[name] for name in names)
    random = np.random.default_rng(0)
    w = random.integers(0, 2**weights.bits, (20, 50))
    a = random.integers(0, 2**activations.bits, (20, 50))
    found = exact_dots(weights, activations, w, a)
    unit = Fraction(weights.unit) * Fraction(activations.unit)

    def number(fmt, code):
        value = fmt.decode(int(code))
        return Fraction(value) if np.isfinite(value) else Fraction(0)

    for i in range(20):
        total = sum(
            number(weights, x) * number(activations, y) for x, y in zip(w[i], a[i], strict=True)
        )
        assert found[i] * unit == total
        assert exact_dot(weights, activations, w[i].tolist(), a[i].tolist()) == found[i]


@pytest.mark.parametrize("names", PAIRS)
def test_widths_hold_the_extremes_and_no_less(names):
    weights, activations = (FORMATS[name] for name in names)
    bits, largest = sum_bits(weights, activations, 128), largest_sum(weights, activations, 128)
    assert largest < 2 ** (bits - 1) <= 2 * largest


def test_formats_without_a_unit_are_refused():
    with pytest.raises(ValueError, match="not multiples of one unit"):
        integer_table(FORMATS["nf4"])


def test_sums_beyond_64_bits_are_refused():
    fmt = FORMATS["fp8_e5m2"]
    codes = np.zeros((1, 1 << 10), int)
    with pytest.raises(ValueError, match="don't fit in 64 bits"):
        exact_dots(fmt, fmt, codes, codes)
