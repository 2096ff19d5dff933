"""FP16 products added in FP32, against fractions and numpy."""

import struct
from fractions import Fraction

import numpy as np

from numerics.pe.fp16_mac import fp16_mac, fp16_macs, fp16_numbers, fp32_sum

MINUS_ONE = 0xBC00


def same_bits(found, expected):
    return np.array_equal(
        np.asarray(found, np.float32).view(np.uint32),
        np.asarray(expected, np.float32).view(np.uint32),
    )


def test_every_code_is_its_number_and_those_of_no_number_are_zero():
    codes = np.arange(2**16, dtype=np.uint16)
    expected = np.array(struct.unpack("<65536e", codes.astype("<u2").tobytes()))
    expected[~np.isfinite(expected)] = 0.0
    assert same_bits(fp16_numbers(codes), expected)
    some = [0x0000, 0x8001, 0x03FF, 0x0400, 0x3C01, 0xFBFF, 0x7C00, 0xFC00, 0x7E01]
    assert [fp16_mac([0x3C00], [code]) for code in some] == expected[some].tolist()


def test_arrays_equal_the_definition():
    random = np.random.default_rng(0)
    rows = random.integers(0, 2**16, (2, 60, 12), dtype=np.uint16)
    # Exponents are close to each other, so that sums round and cancel.
    rows[:, 30:] = rows[:, 30:] & 0x83FF | random.integers(14, 18, (2, 30, 12)) << 10
    expected = [fp16_mac(w, a) for w, a in zip(*rows.tolist(), strict=True)]
    assert same_bits(fp16_macs(*rows), expected)


def test_a_product_of_every_code_is_exact():
    codes = np.arange(2**16, dtype=np.uint16)
    for other in (0x0001, 0x83FF, 0x3C01, 0x7BFF, 0xD555):
        weights = np.full(2**16, other, np.uint16)
        found = fp16_macs(weights[:, None], codes[:, None])
        exact = fp16_numbers(codes).astype(np.float64) * fp16_numbers(weights)
        assert np.array_equal(found, exact)


def test_each_addition_rounds_to_even():
    assert fp32_sum([Fraction(2**24), Fraction(1)]) == 2**24
    assert fp32_sum([Fraction(2**24 + 2), Fraction(1)]) == 2**24 + 4
    # 2^24 + 1 + 1: exact at the end, not after each step.
    big = [0x6C00, 0x3C00, 0x3C00], [0x6C00, 0x3C00, 0x3C00]
    assert fp16_mac(*big) == 2**24
    assert fp16_mac([0x3C00, 0x3C00, 0x6C00], [0x3C00, 0x3C00, 0x6C00]) == 2**24 + 2


def test_cancelled_sums_are_positive_zero():
    rows = np.array([[0x3C00, MINUS_ONE], [0x8000, 0x8000]], np.uint16)
    ones = np.full((2, 2), 0x3C00, np.uint16)
    assert same_bits(fp16_macs(rows, ones), [0.0, 0.0])
