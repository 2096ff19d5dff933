"""MixPE's accumulator aligned to the largest exponent so far: array twin, bound and width."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numerics import FORMATS
from numerics.pe.aligned import Aligned, fp16_parts
from numerics.pe.exact_dot import integer_table
from numerics.pe.running import RunningDot

PES = [
    RunningDot(weights=FORMATS[name], guard_bits=bits)
    for name, bits in (("int4", 10), ("int4", 0), ("dint4", 3))
]


def exact(pe, weights, codes):
    """Return the exact dot product in units of the weights."""
    total = Fraction(0)
    for weight, code in zip(weights, codes, strict=True):
        sign, significand, exponent = fp16_parts(code)
        size = Fraction(significand * 2**exponent, 2**25)
        total += integer_table(pe.weights)[weight] * (-size if sign else size)
    return total


@pytest.mark.parametrize("pe", PES)
def test_arrays_equal_the_definition_within_its_bound(pe):
    random = np.random.default_rng(0)
    for fields in ((0, 32), (13, 17), (0, 2)):
        weights = random.integers(0, 16, (10, 30))
        codes = random.integers(0, 2**16, (10, 30)) & 0x83FF
        codes |= random.integers(*fields, (10, 30)) << 10
        found = [
            Aligned(*pair)
            for pair in zip(*(x.tolist() for x in pe.groups(weights, codes)), strict=True)
        ]
        rows = list(zip(weights.tolist(), codes.tolist(), strict=True))
        assert found == [pe.group(*row) for row in rows]
        errors = [abs(pe.value(r) - exact(pe, *row)) for r, row in zip(found, rows, strict=True)]
        bounds = [pe.error_bound(result.exponent, 30) for result in found]
        assert all(e <= b for e, b in zip(errors, bounds, strict=True))
        # The result is exact if exponents differ by at most the guard bits; a subnormal number has
        # the smallest normal exponent.
        assert any(errors) == (fields[1] - 1 - max(fields[0], 1) > pe.guard_bits)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from(PES),
    st.lists(st.tuples(st.integers(0, 15), st.integers(0, 2**16 - 1)), min_size=2, max_size=20),
)
def test_any_group_is_within_its_bound(pe, pairs):
    weights, codes = zip(*pairs, strict=True)
    result = pe.group(weights, codes)
    error = abs(pe.value(result) - exact(pe, weights, codes))
    assert error <= pe.error_bound(result.exponent, len(pairs))


def test_a_bound_is_nearly_reached():
    pe, count = PES[1], 50
    # Each product of one unit at a small exponent loses nearly one unit of the accumulator.
    weights, codes = [1] + [15] * count, [0x3C00] + [0x0001] * count
    result = pe.group(weights, codes)
    error = abs(pe.value(result) - exact(pe, weights, codes))
    assert error > Fraction(999, 1000) * pe.error_bound(result.exponent, count + 1)


@pytest.mark.parametrize("pe", PES)
def test_the_width_holds_the_largest_sums_and_no_less(pe):
    table = integer_table(pe.weights)
    worst = max(range(16), key=lambda code: abs(table[code]))
    codes = np.full((2, 128), 0x7BFF)
    codes[1] |= 0x8000
    sums, _ = pe.groups(np.full((2, 128), worst), codes)
    bits = pe.sum_bits(128)
    assert all(-(2 ** (bits - 1)) <= s < 2 ** (bits - 1) for s in sums)
    assert not all(-(2 ** (bits - 2)) <= s < 2 ** (bits - 2) for s in sums)
