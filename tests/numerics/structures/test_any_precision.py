"""Nested codes against the vectors of Any-Precision LLM's code and the definition in Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import quantize
from numerics.structures import any_precision_arrays, bit_planes
from numerics.structures.any_precision import (
    AllPrecisions,
    AnyPrecision,
    centers_of,
    cut,
    nested,
    upscale,
)

RNG = np.random.default_rng(8)
X = np.float32(RNG.standard_t(4, size=(4, 150)) * np.exp2(RNG.integers(-6, 6, (4, 1))))
X[0], X[1, 9:] = np.round(X[0] * 2) / 2, 0
X[2, 7] = np.nan
WEIGHTS = [-1.6, -1.5, -1.1, -0.9, -0.52, -0.48, -0.2, -0.12]
WEIGHTS += [0.03, 0.1, 0.22, 0.31, 0.7, 0.8, 1.2, 1.9]
CODES_2 = [0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3]
CODES_4 = [0, 1, 2, 3, 4, 6, 8, 9, 9, 10, 11, 11, 12, 13, 14, 15]
TABLE_2 = [-1.275, -0.5, 0.05667, 1.15]
TABLE_3 = [-1.55, -1, -0.52, -0.48, -0.09667, 0.21, 0.75, 1.55]
TABLE_4 = [-1.6, -1.5, -1.1, -0.9, -0.52, -0.52, -0.48, -0.48]
TABLE_4 += [-0.2, -0.045, 0.1, 0.265, 0.7, 0.8, 1.2, 1.9]
UNIT = 10_000


def test_clusters_are_cut_as_in_the_published_code():
    values, codes = [round(w * UNIT) for w in WEIGHTS], CODES_2
    centers = [round(c * UNIT) for c in TABLE_2]
    for table in (TABLE_3, TABLE_4):
        codes = upscale(values, codes, centers)
        centers = centers_of(values, codes, centers)
        assert centers == pytest.approx([c * UNIT for c in table], abs=1)
    assert codes == CODES_4


def test_a_cut_rests_where_lloyds_algorithm_rests():
    values = sorted(RNG.integers(-30000, 30000, 41).tolist())
    lower = cut(values)
    midpoint = (np.mean(values[:lower]) + np.mean(values[lower:])) / 2
    assert values[lower - 1] <= midpoint <= values[lower]


def test_a_cut_is_not_always_the_one_of_least_error():
    """The published code cuts 7, 8, 12, 19 in the middle; a cut after 12 has less error."""
    errors = [np.var([7, 8, 12, 19][:n]) * n + np.var([7, 8, 12, 19][n:]) * (4 - n) for n in (2, 3)]
    assert cut([7, 8, 12, 19]) == 2 and errors[0] > errors[1]


@pytest.fixture(scope="module")
def every():
    """Return X quantized with the tables of all precisions."""
    return quantize(jnp.asarray(X), AllPrecisions())


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_codes_and_tables_equal_plain_python(bits, every):
    q = any_precision_arrays.at(every, bits)
    for row in (0, 1, 3):
        amax = np.abs(X[row]).max()
        values = np.round(X[row] / amax * 32768).astype(int)
        order = np.argsort(values, kind="stable")
        codes, centers = nested(values[order].tolist(), 3, bits)
        table = (np.float32(centers) / np.float32(32768) * amax).astype(np.float16)
        assert np.asarray(q.codes)[row][order].tolist() == codes
        assert np.array_equal(np.asarray(q.arrays["codebook"])[row], table)


def test_a_lower_precision_by_itself_is_the_prefix(every):
    alone = quantize(jnp.asarray(X), AnyPrecision(bits=4))
    prefix = any_precision_arrays.at(every, 4)
    assert alone.scheme == prefix.scheme
    assert np.array_equal(np.asarray(alone.codes), np.asarray(every.codes) >> 4)
    for array in (alone, prefix):
        for field in array.scheme.layout(X.shape):
            found = array.arrays[field.name]
            assert (found.shape, found.dtype) == (field.shape, field.dtype)
    assert np.array_equal(
        np.asarray(alone.dequantize()), np.asarray(prefix.dequantize()), equal_nan=True
    )


def test_results_are_the_same_under_vmap(every):
    scheme = AnyPrecision(bits=4)
    found = jax.jit(jax.vmap(lambda row: scheme.fake_quantize(row[None] * 1.0)[0]))(X)
    expected = np.asarray(any_precision_arrays.at(every, 4).dequantize())
    assert np.array_equal(np.asarray(found), expected, equal_nan=True)


def test_a_row_with_nan_is_poisoned_and_more_bits_err_less(every):
    values = np.asarray(every.dequantize())
    assert np.isnan(values).all(1).tolist() == [False, False, True, False]
    assert not np.asarray(every.codes)[2].any()
    errors = [
        np.mean((np.asarray(any_precision_arrays.at(every, bits).dequantize())[3] - X[3]) ** 2)
        for bits in range(3, 9)
    ]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-3 * errors[0]


def test_planes_have_the_published_order():
    planes = bit_planes.pack(np.tile(np.arange(8, dtype=np.uint8), 128)[None] << 5)
    for plane, word in zip(planes[:3], (0x0F0F0F0F, 0x33333333, 0x55555555), strict=True):
        assert (plane == word).all()
    assert not planes[3:].any()
    codes = np.zeros((1, 1024), np.uint8)
    codes[0, [8, 256, 519, 1023]] = 128
    words = bit_planes.pack(codes)[0, 0]
    assert (words[0], words[1], words[31]) == (1 << 23 | 1 << 8, 1 << 31, 1)


def test_planes_come_back_at_every_precision():
    codes = RNG.integers(0, 256, (3, 1024 + 96), np.uint8)
    planes = bit_planes.pack(codes)
    for bits in range(1, 9):
        assert np.array_equal(bit_planes.unpack(planes[:bits]), codes >> (8 - bits))
    with pytest.raises(
        ValueError, match=r"^bit planes need rows of a multiple of 32 codes, not 40$"
    ):
        bit_planes.pack(codes[:, :40])


def test_storage_is_that_of_the_paper():
    bits = [AnyPrecision(bits=b).bits_per_weight((4, 4096)) for b in range(3, 9)]
    assert bits == [3.03125, 4.0625, 5.125, 6.25, 7.5, 9.0]
    assert AllPrecisions().bits_per_weight((4, 4096)) == 8 + 504 * 16 / 4096
    with pytest.raises(ValueError, match=r"^nested codes have 3 to 8 bits, not 2$"):
        AnyPrecision(bits=2)
    with pytest.raises(ValueError, match=r"^any-precision has rows of up to 65535 values"):
        AllPrecisions().check_shape((1, 65536))
