"""BitMoD's dequantizer: bit-serial scales, and the FP32 sum of a channel."""

from fractions import Fraction

import numpy as np
import pytest

from numerics import SCHEMES
from numerics.mixtures.selected import SelectedFormat
from numerics.pe.aligned import Aligned, AlignedDot
from numerics.pe.dequantizer import column, columns, dequantized
from numerics.pe.terms import WindowTerms


def test_every_scale_times_extreme_mantissas():
    for mantissa in (-(2**14), -1, 0, 1, 5000, 2**14 - 1):
        for scale in range(256):
            found = dequantized(Aligned(mantissa, 7), scale)
            assert found == (mantissa * scale, 7)
            assert -(2**22) <= found.mantissa < 2**22


def test_arrays_equal_the_definition():
    random = np.random.default_rng(0)
    mantissas = random.integers(-(2**14), 2**14, (200, 9))
    exponents = random.integers(1, 50, (200, 9))
    exponents[100:] = random.integers(18, 24, (100, 9))
    scales = random.integers(0, 256, (200, 9))
    found = columns(mantissas, exponents, scales)
    for row in range(200):
        groups = [
            Aligned(*pair)
            for pair in zip(mantissas[row].tolist(), exponents[row].tolist(), strict=True)
        ]
        assert column(groups, scales[row].tolist()) == found[row]


def test_a_group_of_a_published_vector():
    fmt = SelectedFormat(name="bitmod-fp4", candidates=SCHEMES["bitmod-fp4"].formats)
    weights = [fmt.encode(value) for value in (1, -3, 0.5, 8, -2, 4, -6, 0)]
    codes = [0x3C00, 0xB800, 0x3555, 0x4000, 0x2E66, 0xC280, 0x1F2B, 0x3E00]
    wide = AlignedDot(generator=WindowTerms(fmt), guard_bits=16, accumulator_bits=48)
    group = wide.group(weights, codes)
    assert wide.value(group) == Fraction(711023, 131072)
    assert wide.value(dequantized(group, 21)) == 113.91817474365234
    # The PE's own accumulator width gives nearly the published number.
    pe = AlignedDot(generator=WindowTerms(fmt))
    assert 0 < abs(pe.value(dequantized(pe.group(weights, codes), 21)) - 113.918175) < 0.05


def test_additions_round_one_after_another():
    big, small = Aligned(2**13, 40), Aligned(1, 27)
    # 2^13 * 2^12 = 2^25, whose next number is 2^25 + 4; twice 1/2 * 3 is lost.
    assert column([big, small, small], [1, 3, 3]) == 2**25
    assert column([small, small, big], [3, 3, 1]) == 2**25 + 4


def test_scales_of_more_bits_are_refused():
    with pytest.raises(ValueError, match=r"^scales must be 0 to 255, not 256 to 256$"):
        dequantized(Aligned(1, 1), 256)
    one = np.ones((1, 1), int)
    with pytest.raises(ValueError, match=r"^scales must be 0 to 255, not -1 to -1$"):
        columns(one, one, -one)
