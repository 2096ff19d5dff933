"""Zero points subtracted after the sum, against weights with the zero point subtracted before."""

import numpy as np
import pytest

from numerics import FORMATS
from numerics.pe.exact_dot import integer_table
from numerics.pe.zero_point import (
    difference_bits,
    largest_difference,
    row_sum,
    zero_point_dot,
    zero_point_dots,
)

UINT4, INT8 = FORMATS["uint4"], FORMATS["int8"]


def test_every_weight_zero_point_and_activation():
    weights, zeros, codes = (
        part.reshape(-1) for part in np.meshgrid(range(16), range(16), range(256))
    )
    signed = codes.astype(np.uint8).view(np.int8).astype(int)
    found = zero_point_dots(UINT4, INT8, weights[:, None, None], codes[:, None], zeros[:, None])
    assert np.array_equal(found[:, 0], (weights - zeros) * signed)


def test_columns_share_one_sum_of_the_row():
    random = np.random.default_rng(0)
    weights, codes = random.integers(0, 16, (5, 3, 40)), random.integers(0, 256, (5, 40))
    zeros = random.integers(0, 16, (5, 3))
    found = zero_point_dots(UINT4, INT8, weights, codes, zeros)
    signed = codes.astype(np.uint8).view(np.int8).astype(int)
    for group in range(5):
        row = codes[group].tolist()
        assert row_sum(INT8, row) == signed[group].sum()
        for column in range(3):
            before = weights[group, column] - zeros[group, column]
            zero = int(zeros[group, column])
            one = zero_point_dot(UINT4, INT8, weights[group, column].tolist(), row, zero)
            assert found[group, column] == one == before @ signed[group]


def test_signed_weights_have_zero_points_too():
    random = np.random.default_rng(1)
    int4 = FORMATS["int4"]
    weights, codes = random.integers(0, 16, (4, 1, 9)), random.integers(0, 256, (4, 9))
    zeros = random.integers(0, 16, (4, 1))
    found = zero_point_dots(int4, INT8, weights, codes, zeros)
    table, values = np.array(integer_table(int4)), np.array(integer_table(INT8))
    expected = ((table[weights] - table[zeros][..., None]) * values[codes][:, None]).sum(-1)
    assert np.array_equal(found, expected)


def test_the_width_holds_the_extremes_and_no_less():
    codes = np.full((1, 128), 128)
    least = zero_point_dots(UINT4, INT8, np.full((1, 1, 128), 15), codes, np.array([[0]]))
    most = zero_point_dots(UINT4, INT8, np.zeros((1, 1, 128), int), codes, np.array([[15]]))
    largest, bits = largest_difference(UINT4, INT8, 128), difference_bits(UINT4, INT8, 128)
    assert (least.item(), most.item()) == (-largest, largest)
    assert largest < 2 ** (bits - 1) <= 2 * largest


def test_sums_beyond_64_bits_are_refused():
    wide = FORMATS["fp8_e5m2"]
    codes = np.zeros((1, 1 << 10), int)
    with pytest.raises(ValueError, match="don't fit in 64 bits"):
        zero_point_dots(wide, wide, codes[None], codes, np.zeros((1, 1), int))
