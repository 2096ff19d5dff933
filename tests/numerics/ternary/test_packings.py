"""Packings of bitnet.cpp: vectors of codebooks_ternary_structured, section 4."""

import itertools

import numpy as np
import pytest

from numerics.ternary.packings import (
    pack_i2_s,
    pack_tl1,
    pack_tl2,
    tl1_table,
    tl2_bits_per_weight,
    tl2_table,
    unpack_i2_s,
    unpack_tl1,
    unpack_tl2,
)

RNG = np.random.default_rng(3)
TL1 = {"block_rows": 160, "block_width": 64, "line_rows": 32}


def trits(*shape) -> np.ndarray:
    return RNG.integers(-1, 2, shape).astype(np.int8)


# Vectors of BN-2, section 4.
@pytest.mark.parametrize(("isa", "pattern"), [("x86", "244992"), ("neon", "186186")])
def test_i2_s_vectors(isa, pattern):
    packed = pack_i2_s(np.int8(np.arange(128) % 3 - 1), 0.25, isa=isa)
    assert packed[:32].tobytes().hex() == (pattern * 11)[:64]
    assert packed[32:].tobytes().hex() == "0000803e" + "00" * 28


@pytest.mark.parametrize("isa", ["x86", "neon"])
def test_i2_s_comes_back(isa):
    x = trits(1024)
    found, scale = unpack_i2_s(pack_i2_s(x, 0.7, isa=isa), isa=isa)
    assert np.array_equal(found, x) and scale == np.float32(0.7)


def test_tl1_comes_back_and_has_the_order_of_its_tiles():
    x = trits(320, 192)
    packed = pack_tl1(x, **TL1)
    assert packed.size * 8 == 2 * x.size
    assert np.array_equal(unpack_tl1(packed, x.shape, **TL1), x)
    # Byte 0 has weights 0 to 3 of row 0, byte 1 those of row 1; byte 16 has weights 4 to 7 of row
    # 0, byte 32 row 16, byte 64 weight 8 of row 0; the next 64 columns follow after 160 rows.
    for byte, row, column in [
        (0, 0, 0),
        (1, 1, 0),
        (16, 0, 4),
        (32, 16, 0),
        (64, 0, 8),
        (32 * 16, 32, 0),
        (160 * 16, 0, 64),
        (160 * 48, 160, 0),
    ]:
        t = x[row, column : column + 4].astype(int)
        assert packed[byte] == (3 * t[0] + t[1] + 4) << 4 | (3 * t[2] + t[3] + 4)


def test_tl2_comes_back():
    x = trits(7, 192)
    magnitudes, signs = pack_tl2(x)
    assert 8 * magnitudes.nbytes + 8 * signs.nbytes == x.size * 5 / 3
    assert np.array_equal(unpack_tl2(magnitudes, signs), x)
    first = 9 * int(x[0, 0]) + 3 * int(x[0, 1]) + int(x[0, 2])
    assert magnitudes[0, 0] >> 4 == abs(first) and signs[0, 0] >> 15 == (first < 0)


# BN-4: results of bitnet.cpp's AVX2 kernel when all codes are 2 and all activations are equal.
@pytest.mark.parametrize(("q", "found"), [(127, -8192), (64, -524288), (63, 516096)])
def test_a_kernel_with_sums_of_16_bits_would_not_be_exact(q, found):
    ones, _ = unpack_i2_s(pack_i2_s(np.ones(4096, np.int8), 1.0, isa="x86"), isa="x86")
    products = (ones.astype(np.int32) + 1) * q
    # Each of the 16 lanes adds two adjacent bytes of 32, over all blocks.
    lanes = products.reshape(-1, 4, 16, 2).sum(axis=(0, 1, 3)).astype(np.int16)
    assert lanes.sum(dtype=int) == found
    assert (lanes.sum(dtype=int) == products.sum()) == (q == 63)


# Vector of BN-3, section 4.
def test_lookup_of_a_pair_and_of_a_triple_is_their_product():
    for t in itertools.product((-1, 0, 1), repeat=2):
        assert tl1_table(17, -90)[3 * t[0] + t[1] + 4] == t[0] * 17 + t[1] * -90
    for t in itertools.product((-1, 0, 1), repeat=3):
        number = 9 * t[0] + 3 * t[1] + t[2]
        found = tl2_table(17, -90, 127)[abs(number)] * (-1 if number < 0 else 1)
        assert found == t[0] * 17 + t[1] * -90 + t[2] * 127


def test_bits_of_tl2():
    assert round(tl2_bits_per_weight(3200, 8640), 4) == 1.6667
    assert round(tl2_bits_per_weight(14336, 4096), 4) == 1.6719
    assert round(tl2_bits_per_weight(1536, 1536, allocated=True), 3) == 1.722


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: pack_i2_s(trits(100), 1.0, isa="x86"), "I2_S on x86 packs multiples of 128, no"),
        (lambda: pack_tl1(trits(160, 60), **TL1), "TL1 along a row packs multiples of 64, not 60"),
        (lambda: pack_tl2(trits(2, 95)), "TL2 along a row packs multiples of 96, not 95"),
        (lambda: pack_tl2(np.full((1, 96), 2, np.int8)), "ternary weights are -1, 0 and 1"),
    ],
)
def test_refusals(attempt, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        attempt()
