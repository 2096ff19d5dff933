"""Ternary and binary schemes against their scalar definitions and published vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, quantize
from numerics.schemes.storage import from_bytes, to_bytes
from numerics.ternary.entries import ENTRIES
from numerics.ternary.reference import (
    quantize_absmean,
    quantize_column,
    quantize_token,
    quantize_twn,
)

BITNET, INT8, TWN, FBI = (scheme for scheme, _ in ENTRIES.values())
SIZE = 32
ROWS, WIDTH = 5, 72


def tensors() -> list[np.ndarray]:
    """Return tensors of one shape, so that each scheme is compiled once."""
    rng = np.random.default_rng(4)
    normal = rng.standard_normal((ROWS, WIDTH))
    found = [normal, normal * 2.0 ** rng.integers(-12, 12, (ROWS, WIDTH)), normal * 1e-7]
    found += [rng.integers(-2, 3, (ROWS, WIDTH)) / 2, np.zeros((ROWS, WIDTH)), normal * 1e6]
    found += [normal * 2.0**-128, normal * 2.0**125, -np.zeros((ROWS, WIDTH))]
    for value in (np.nan, np.inf, -np.inf):
        spoiled = normal.copy()
        spoiled[2, 40] = value
        found.append(spoiled)
    found.append(np.where(np.arange(WIDTH) < SIZE, normal, 0))
    return [x.astype(np.float32) for x in found]


def same(actual, expected) -> bool:
    actual, expected = np.asarray(actual), np.asarray(expected)
    return actual.dtype == expected.dtype and np.array_equal(actual, expected, equal_nan=True)


@pytest.mark.parametrize("x", tensors())
def test_absmean_is_its_definition(x):
    q = quantize(x, BITNET)
    trits, scale = quantize_absmean(x.ravel().tolist())
    assert same(q.codes, (np.reshape(trits, x.shape) + 1).astype(np.uint8))
    assert same(q.scales, np.full((1, 1), scale))
    expected = (np.reshape(trits, x.shape) / scale).astype(np.float32)
    assert same(q.dequantize(), np.where(np.abs(expected) < 2.0**-126, 0, expected))


@pytest.mark.parametrize("x", tensors())
def test_tokens_are_their_definition(x):
    q = quantize(x, INT8)
    codes, scales = zip(*(quantize_token(row) for row in x.tolist()), strict=True)
    assert same(q.codes, np.array(codes, np.int8).view(np.uint8))
    assert same(q.scales, np.float32(scales)[:, None])
    expected = np.array(codes, np.float32) / np.float32(scales)[:, None]
    assert same(q.dequantize(), expected)


@pytest.mark.parametrize("x", tensors())
def test_twn_is_its_definition(x):
    q = quantize(x, TWN.with_group_size(SIZE))
    assert q.scales.shape == (ROWS, 3)
    for row in range(ROWS):
        for group, start in enumerate(range(0, WIDTH, SIZE)):
            trits, scale = quantize_twn(x[row, start : start + SIZE].tolist())
            assert same(q.scales[row, group], scale)
            assert np.asarray(q.codes[row, start : start + SIZE]).tolist() == [t + 1 for t in trits]
            values = np.float32(trits) * np.float32(scale)
            assert np.array_equal(q.dequantize()[row, start : start + SIZE], values, equal_nan=True)


def test_rows_shorter_than_a_group_are_one_group_of_twn():
    x = np.float32([[1.0, -3.0, 0.25, 0.0]])
    q = quantize(x, TWN)
    trits, scale = quantize_twn(x[0].tolist())
    assert np.asarray(q.codes).tolist() == [[trit + 1 for trit in trits]]
    assert np.asarray(q.scales).tolist() == [[scale]] == [[2.0]]


@pytest.mark.parametrize("x", tensors())
def test_columns_are_their_definition(x):
    q = quantize(x, FBI)
    signs = np.unpackbits(np.asarray(q.arrays["signs"]), axis=1, bitorder="little")[:, :WIDTH]
    bits, a, b = zip(*(quantize_column(column) for column in x.T.tolist()), strict=True)
    assert np.array_equal(signs, np.array(bits).T)
    assert same(q.scales, np.array(a)[None]) and same(q.arrays["offsets"], np.array(b)[None])
    signed = np.where(np.array(bits).T, np.float32(a), -np.float32(a))
    assert same(q.dequantize(), signed + np.float32(b))


# Vectors of codebooks_ternary_structured, section 4.1 (BN-1).
def test_bitnet_vectors():
    w = np.float32([[0.5, -0.2, 0.05, -1], [0.3, 0, -0.35, 0.8]])
    x = np.float32([[0.1, -0.25, 0.5, 1], [-3, 1.5, 0.75, 0.01]])
    weights, tokens = quantize(w, BITNET), quantize(x, INT8)
    assert np.float32(weights.scales) == 1 / np.float32(0.39999998)
    trits = np.asarray(weights.codes).astype(int) - 1
    assert trits.tolist() == [[1, -1, 0, -1], [1, 0, -1, 1]]
    assert np.asarray(tokens.scales).ravel().tolist() == [127, np.float32(42.333336)]
    codes = np.asarray(tokens.codes).view(np.int8)
    assert codes.tolist() == [[13, -32, 64, 127], [-127, 64, 32, 0]]
    integers = codes.astype(int) @ trits.T
    assert integers.tolist() == [[-82, 76], [-191, -159]]
    y = np.float32(integers) / np.asarray(tokens.scales) / np.asarray(weights.scales)
    expected = [[-0.2582677, 0.23937006], [-1.8047241, -1.502362]]
    np.testing.assert_allclose(y, expected, rtol=3e-7)


def test_an_all_zero_token():
    q = quantize(np.zeros((1, 4), np.float32), INT8)
    assert np.float32(q.scales) == np.float32(1.27e7) and not np.asarray(q.codes).any()


# Vectors of codebooks_ternary_structured, section 5 (FB-1). The sign of zero is 0 in training, but
# bit 1 in this scheme.
def test_column_vectors():
    w = np.float32([[0.5, -0.2, 0], [0.1, 0.4, -0.6]])
    q = quantize(w, FBI)
    half = {"rtol": 2.0**-11}
    np.testing.assert_allclose(q.scales, [[0.2, 0.3, 0.3]], **half)
    np.testing.assert_allclose(q.arrays["offsets"], [[0.3, 0.1, -0.3]], **half)
    values = np.asarray(q.dequantize())
    np.testing.assert_allclose(values, [[0.5, -0.2, 0], [0.5, 0.4, -0.6]], atol=3e-4)
    # FBI-LLM's training dequantizes a zero weight to its offset.
    training = np.where(w == 0, np.asarray(q.arrays["offsets"]), values)
    np.testing.assert_allclose(training @ [1, 2, -1], [0.4, 1.9], atol=2e-3)


@pytest.mark.parametrize(
    ("scheme", "shape", "expected"),
    [
        (BITNET, (64, 256), (2, 2 + 32 / 16384)),
        (INT8, (64, 256), (8, 8 + 32 / 256)),
        (TWN, (64, 256), (2, 2.125)),
        (FBI, (4096, 64), (1, 1 + 32 / 4096)),
        (FBI, (11008, 64), (1, 1 + 32 / 11008)),
    ],
)
def test_bits_per_weight(scheme, shape, expected):
    index, full = expected
    kinds = ("index", "full", "stored")
    found = [scheme.bits_per_weight(shape, kind=kind) for kind in kinds]
    assert found == pytest.approx([index, full, full])


@pytest.mark.parametrize("scheme", [BITNET, INT8, TWN.with_group_size(SIZE), FBI])
def test_stored_and_back_and_inside_a_larger_program(scheme):
    x = tensors()[0]
    q = quantize(x, scheme)
    again = from_bytes(scheme, x.shape, to_bytes(q)).dequantize()
    assert same(again, q.dequantize())
    half = np.full(x.shape, 0.3, np.float32)
    rounded, _ = jax.jit(lambda a, b: (y := scheme.fake_quantize(a * b), y + a))(x, half)
    assert same(rounded, fake_quantize(x * half, scheme))


def test_refusals():
    with pytest.raises(ValueError, match=r"^fbi-binary needs a matrix, not a tensor of shape \[4"):
        quantize(jnp.zeros(4), FBI)
    with pytest.raises(ValueError, match=r"^group size 128 is larger than a row of 4 values$"):
        TWN.check_shape((1, 4))
