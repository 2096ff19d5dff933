"""Dot products by table lookup against those of the ternary weights."""

import itertools

import numpy as np
import pytest

from numerics import FORMATS
from numerics.formats import TableFormat
from numerics.pe.exact_dot import exact_dots
from numerics.pe.lookup import (
    tl1_codes,
    tl1_dot,
    tl1_dots,
    tl2_codes,
    tl2_dot,
    tl2_dots,
)
from numerics.ternary.packings import pack_tl1, pack_tl2

I2_S = TableFormat(name="i2_s", table=(-1.0, 0.0, 1.0))


def exact(trits, activations):
    return exact_dots(I2_S, FORMATS["int8"], trits + 1, activations & 255)


def test_every_pair_and_triple_of_weights():
    random = np.random.default_rng(0)
    for size in (2, 3):
        trits = np.array(list(itertools.product((-1, 0, 1), repeat=size)))
        rows = np.repeat(trits, 200, axis=0)
        activations = random.integers(-128, 128, rows.shape)
        activations[::200] = -128
        if size == 2:
            found = tl1_dots(tl1_codes(rows), activations)
        else:
            found = tl2_dots(*tl2_codes(rows), activations)
        assert np.array_equal(found, exact(rows, activations))


def test_long_rows_in_plain_python_and_arrays():
    random = np.random.default_rng(1)
    trits, activations = random.integers(-1, 2, (20, 96)), random.integers(-128, 128, (20, 96))
    expected = exact(trits, activations)
    pairs, (magnitudes, signs) = tl1_codes(trits), tl2_codes(trits)
    assert np.array_equal(tl1_dots(pairs, activations), expected)
    assert np.array_equal(tl2_dots(magnitudes, signs, activations), expected)
    for row in range(20):
        values = activations[row].tolist()
        assert tl1_dot(pairs[row].tolist(), values) == expected[row]
        assert tl2_dot(magnitudes[row].tolist(), signs[row].tolist(), values) == expected[row]


def test_codes_are_those_of_the_file():
    random = np.random.default_rng(2)
    trits = random.integers(-1, 2, (16, 96), dtype=np.int8)
    packed = pack_tl1(trits[:, :64], block_rows=16, block_width=64, line_rows=16)
    # A piece of 16 weights has 4 bytes per row with two codes each, in 4 steps of 16 rows.
    stored = np.stack([packed >> 4, packed & 15], axis=-1).reshape(-1, 16, 2)
    assert np.array_equal(stored.transpose(1, 0, 2).reshape(16, -1), tl1_codes(trits[:, :64]))
    magnitudes, words = pack_tl2(trits)
    found, signs = tl2_codes(trits)
    assert np.array_equal(np.stack([magnitudes >> 4, magnitudes & 15], -1).reshape(16, -1), found)
    bits = (words[..., None] >> np.arange(16)[::-1] & 1).reshape(16, -1)
    assert np.array_equal(bits, signs)


def test_codes_of_no_weights_count_as_zero():
    activations = np.array([[100, 50, 25, 12, 6, 3]])
    for code in range(9, 16):
        assert tl1_dot([code, 4, 5], activations[0].tolist()) == 3
        assert tl1_dots(np.array([[code, 4, 5]]), activations).item() == 3
    for magnitude, sign in itertools.product((14, 15), (0, 1)):
        assert tl2_dot([magnitude, 1], [sign, 1], activations[0].tolist()) == -3
        found = tl2_dots(np.array([[magnitude, 1]]), np.array([[sign, 1]]), activations)
        assert found.item() == -3


def test_largest_sums_occur():
    lowest = np.full((1, 6), -128)
    assert tl1_dots(tl1_codes(-np.ones((1, 6), int)), lowest).item() == 6 * 128
    assert tl2_dots(*tl2_codes(np.ones((1, 6), int)), lowest).item() == -6 * 128


def test_rows_of_part_of_a_code_are_refused():
    with pytest.raises(ValueError, match="a row of 5 values is not a multiple of 3"):
        tl2_codes(np.zeros((2, 5), int))
    with pytest.raises(ValueError, match="a row of 3 values is not a multiple of 2"):
        tl1_dot([4], [1, 2, 3])
    with pytest.raises(ValueError, match="argument 2 is longer"):
        tl2_dot([1, 2], [0, 0], [1, 2, 3])
