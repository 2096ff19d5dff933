"""BitMoD's aligned PE: published vectors, its array twin, and its error bounds."""

from dataclasses import replace
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numerics import FORMATS, SCHEMES
from numerics.mixtures.selected import SelectedFormat
from numerics.pe.aligned import Aligned, AlignedDot, fp16_parts, shifted
from numerics.pe.aligned_arrays import accumulated
from numerics.pe.aligned_dots import aligned_dots
from numerics.pe.exact_dot import integer_table
from numerics.pe.half_tables import EXPONENTS, SIGNIFICANDS
from numerics.pe.terms import BoothTerms, Term, WindowTerms

with np.errstate(invalid="ignore"):
    NUMBERS = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(float)
NUMBERS[~np.isfinite(NUMBERS)] = 0.0
FP4 = SelectedFormat(name="bitmod-fp4", candidates=SCHEMES["bitmod-fp4"].formats)
PES = [
    AlignedDot(generator=generator, rounding=rounding)
    for generator in (WindowTerms(FP4), BoothTerms(FORMATS["int8"]), BoothTerms(FORMATS["int6"]))
    for rounding in ("truncate", "nearest")
] + [AlignedDot(generator=WindowTerms(FP4), lanes=2, guard_bits=0, accumulator_bits=9)]
#: PEs that cover each term generator, each rounding and the small accumulator once.
FEW = [
    pytest.param(pe, marks=[pytest.mark.slow] * (i not in (0, 3, 6))) for i, pe in enumerate(PES)
]
#: Published cycles: activations, and signs, exponents and bits of the terms; then the result.
CYCLES = [
    ([0x3C00, 0xB800, 0x3555, 0x4000], "0101", "2031", "1111", Aligned(6484, 17)),
    ([0x3C00, 0xB800, 0x3555, 0x4000], "0101", "2031", "1110", Aligned(14676, 17)),
    ([0x3C00, 0x0401, 0x3555, 0x5BFF], "0000", "0000", "1111", Aligned(16461, 22)),
]


def exact(pe, weights, codes):
    """Return the exact dot product as a fraction."""
    values = np.array(integer_table(pe.generator.weights)) * pe.generator.weights.unit
    # Products have at most 14 bits, so float holds them; only their sum needs fractions.
    return sum(map(Fraction, (values[list(weights)] * NUMBERS[list(codes)]).tolist()))


def spread(random, fmt, rows, length, *, fields=(0, 32)):
    """Return random weights, and activations with exponent fields in the range ``fields``."""
    weights = random.integers(0, 2**fmt.bits, (rows, length))
    codes = random.integers(0, 2**16, (rows, length)) & 0x83FF
    return weights, codes | random.integers(*fields, (rows, length)) << 10


@pytest.mark.parametrize("codes,signs,exponents,bits,expected", CYCLES)
def test_published_cycles(codes, signs, exponents, bits, expected):
    terms = [
        Term(sign=int(s), exponent=int(e), bit=int(b), significance=0)
        for s, e, b in zip(signs, exponents, bits, strict=True)
    ]
    assert PES[0].beat(terms, [fp16_parts(code) for code in codes]) == expected


def test_every_fp16_code_has_its_parts():
    for code in range(2**16):
        sign, significand, exponent = fp16_parts(code)
        signed = -significand if sign else significand
        assert (SIGNIFICANDS[code], EXPONENTS[code]) == (signed, exponent)
        assert 1 <= exponent <= 30 and significand < 2**11
    assert np.array_equal(np.ldexp(SIGNIFICANDS.astype(float), EXPONENTS - 25), NUMBERS)


@pytest.mark.parametrize("pe", FEW)
def test_arrays_equal_the_definition(pe):
    random = np.random.default_rng(0)
    fmt = pe.generator.weights
    for fields in ((0, 32), (12, 17), (0, 3), (29, 31)):
        weights, codes = spread(random, fmt, 5, 6 * pe.lanes, fields=fields)
        mantissas, exponents = aligned_dots(pe, weights, codes)
        for i, row in enumerate(zip(weights.tolist(), codes.tolist(), strict=True)):
            assert (mantissas[i], exponents[i]) == pe.group(*row)


@pytest.mark.parametrize("pe", FEW)
def test_results_are_within_their_bounds(pe):
    random = np.random.default_rng(1)
    worst = Fraction(0)
    for fields in ((0, 32), (10, 20), (14, 16), (0, 2), (30, 31)):
        weights, codes = spread(random, pe.generator.weights, 12, 64, fields=fields)
        mantissas, exponents = aligned_dots(pe, weights, codes)
        assert np.abs(mantissas * 2 + 1).max() < 2**pe.accumulator_bits
        assert exponents.max() <= pe.most_exponent(64)
        for row, m, e in zip(range(12), mantissas.tolist(), exponents.tolist(), strict=True):
            error = abs(
                pe.value(Aligned(m, e)) - exact(pe, weights[row].tolist(), codes[row].tolist())
            )
            worst = max(worst, error / pe.error_bound(e, 64))
    assert 0 < worst <= 1


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.sampled_from(PES),
    st.lists(st.tuples(st.integers(0, 63), st.integers(0, 2**16 - 1)), min_size=16, max_size=16),
)
def test_any_group_is_within_its_bound(pe, pairs):
    weights, codes = zip(*pairs, strict=True)
    result = pe.group(weights, codes)
    error = abs(pe.value(result) - exact(pe, weights, codes))
    assert error <= pe.error_bound(result.exponent, 16)


def test_the_largest_sums_stay_within_the_exponent():
    for pe in PES[:-1]:
        fmt = pe.generator.weights
        values = [fmt.decode(code) for code in range(2**fmt.bits)]
        for weight in (np.argmin(values), np.argmax(values)):
            rows = np.full((1, 256), weight), np.full((1, 256), 0x7BFF)
            mantissa, exponent = aligned_dots(pe, *rows)
            assert exponent[0] <= pe.most_exponent(256)
            found = pe.value(Aligned(int(mantissa[0]), int(exponent[0])))
            error = abs(found - exact(pe, *(row[0].tolist() for row in rows)))
            assert error <= pe.error_bound(int(exponent[0]), 256)


@pytest.mark.parametrize("pe", PES)
def test_accumulators_around_powers_of_two(pe):
    top = 1 << pe.accumulator_bits
    near = [sign * (top << k >> 2) + d for sign in (1, -1) for k in range(9) for d in (-1, 0, 1, 2)]
    added, mantissas = (x.ravel() for x in np.meshgrid(near, [0, 1, -1, top // 2 - 1, -top // 2]))
    exponents, tops = np.full(added.size, 20), np.tile([19, 20, 21, 24], added.size // 4)
    found = accumulated(
        pe, *(jnp.asarray(x, jnp.int32) for x in (mantissas, exponents, added, tops))
    )
    for i, result in enumerate(zip(*(x.tolist() for x in found), strict=True)):
        total = Aligned(int(mantissas[i]), 20)
        assert result == pe.accumulated(total, int(added[i]), int(tops[i]), 0)
        assert -top // 2 <= result[0] < top // 2


def test_equal_exponents_that_fit_lose_nothing():
    pe = PES[0]
    # Codes 2 and 10 of the first candidate are 1 and -1, so sums have few bits.
    weights, codes = [2, 10] * 4, [0x3C00, 0x4000] * 4
    assert pe.value(pe.group(weights, codes)) == exact(pe, weights, codes) == -4


@pytest.mark.parametrize("places", [0, 1, 3, 20])
def test_shifts_round_as_fractions_do(places):
    for number in range(-40, 41):
        assert shifted(number, places, "nearest") == round(Fraction(number, 2**places))
        assert shifted(number, places, "truncate") == number // 2**places


def test_groups_that_it_cannot_take():
    with pytest.raises(ValueError, match=r"^groups of 6 values are not a multiple of 4 lanes$"):
        PES[0].group([0] * 6, [0] * 6)
    with pytest.raises(
        ValueError,
        match=r"^groups of 65536 values take 32768 cycles; an accumulator of 15 bits is proved",
    ):
        PES[0].check(65536)
    with pytest.raises(ValueError, match=r"^exponents of up to 68 don't fit in 6 bits$"):
        replace(PES[2], guard_bits=21).check(1024)
