"""Dot products of vector-quantized weights, against the schemes' dequantized values."""

import jax.numpy as jnp
import numpy as np
import pytest

from numerics.codebooks import e8p
from numerics.codebooks.additive import Additive
from numerics.codebooks.e8p_scheme import E8P
from numerics.codebooks.vptq import Codebook, Vptq
from numerics.codebooks.vptq_arrays import SHARPER
from numerics.pe.codebook_dot import (
    additive_dot,
    additive_dots,
    column_dot,
    column_dots,
    e8p_dot,
    e8p_dots,
    integer_entries,
    largest_additive_sum,
    largest_e8p_sum,
)
from numerics.schemes.tensor import QuantizedTensor

RANDOM = np.random.default_rng(0)


def activations_of(*shape):
    return RANDOM.integers(-128, 128, shape)


def test_e8p_is_the_values_of_the_scheme():
    codes = RANDOM.integers(0, 1 << 16, (64, 4))
    arrays = {"codes": jnp.asarray(codes, jnp.uint16), "scales": jnp.ones(64, jnp.float16)}
    values = np.asarray(QuantizedTensor(arrays=arrays, scheme=E8P(), shape=(64, 32)).dequantize())
    activations = activations_of(64, 32)
    found = e8p_dots(codes, activations)
    # Multiples of 1/4 below 3 times 8-bit integers are exact in float64.
    assert np.array_equal(found, 4 * (values.astype(np.float64) * activations).sum(axis=1))
    for row in range(64):
        assert e8p_dot(codes[row].tolist(), activations[row].tolist()) == found[row]


def test_every_code_of_e8p_in_arrays_is_the_decoded_point():
    codes = np.arange(1 << 16)[:, None]
    for element in range(8):
        rows = np.broadcast_to(np.eye(8, dtype=int)[element], (1 << 16, 8))
        assert np.array_equal(e8p_dots(codes, rows), e8p.points()[:, element])


def test_sums_of_entries_are_the_values_of_aqlm():
    scheme = Additive(codebooks=2, code_bits=3)
    entries, codes = RANDOM.integers(-128, 128, (2, 8, 8)), RANDOM.integers(0, 8, (20, 3, 2))
    arrays = {
        "codes": jnp.asarray(codes, jnp.uint8),
        "codebooks": jnp.asarray(entries, jnp.float16),
        "scales": jnp.ones(20, jnp.float16),
    }
    values = np.asarray(QuantizedTensor(arrays=arrays, scheme=scheme, shape=(20, 24)).dequantize())
    activations = activations_of(20, 24)
    found = additive_dots(entries, codes, activations)
    assert np.array_equal(found, (values.astype(np.float64) * activations).sum(axis=1))
    for row in range(20):
        one = additive_dot(entries.tolist(), codes[row].tolist(), activations[row].tolist())
        assert one == found[row]


def test_sums_of_columns_are_the_values_of_vptq():
    scheme = Vptq(main=Codebook(length=6, bits=4), residual_bits=4)
    # The scale SHARPER cancels the unit of columns, so that values are sums of integer entries.
    entries, codes = RANDOM.integers(-128, 128, (2, 16, 6)), RANDOM.integers(0, 16, (2, 5, 40))
    arrays = {
        "codes": jnp.asarray(codes[0], jnp.uint8),
        "codebook": jnp.asarray(entries[0], jnp.float16),
        "residual_codes": jnp.asarray(codes[1], jnp.uint8),
        "residual_codebook": jnp.asarray(entries[1], jnp.float16),
        "scales": jnp.full(40, SHARPER, jnp.float16),
        "biases": jnp.zeros(40, jnp.float16),
        "permutation": jnp.arange(40, dtype=jnp.uint16),
    }
    values = np.asarray(QuantizedTensor(arrays=arrays, scheme=scheme, shape=(30, 40)).dequantize())
    activations = activations_of(40)
    by_vector = np.moveaxis(codes, 0, -1)
    found = column_dots(entries, by_vector, np.broadcast_to(activations, (5, 40)))
    assert np.array_equal(found.reshape(-1), values.astype(np.float64) @ activations)
    for row in range(5):
        one = column_dot(entries.tolist(), by_vector[row].tolist(), activations.tolist())
        assert one == found[row].tolist()


def test_entries_of_8_bits_are_within_half_a_scale():
    codebooks = RANDOM.normal(0, 0.7, (2, 256, 8)).astype(np.float16)
    entries, scale = integer_entries(codebooks)
    assert abs(entries).max() == 127
    assert (abs(entries * scale - codebooks.astype(np.float64)) <= scale / 2).all()
    # Multiples of the scale are reproduced exactly.
    again, same = integer_entries((entries * 0.25).astype(np.float16))
    assert same == 0.25 and np.array_equal(again, entries)
    assert integer_entries(np.zeros((1, 2, 8), np.float16))[1] == 1.0
    with pytest.raises(ValueError, match="NaN or infinities"):
        integer_entries(np.full((1, 2, 8), np.inf, np.float16))


def test_largest_sums_occur():
    points = e8p.points().astype(int)
    code = np.array([[abs(points).sum(axis=1).argmax()] * 16])
    activations = np.tile(np.where(points[code[0, 0]] < 0, 127, -128), 16)[None]
    found = e8p_dots(code, activations).item()
    largest = largest_e8p_sum(128, 128)
    assert 0.99 * largest < -found <= largest
    entries = np.full((2, 1, 8), -128)
    lowest = additive_dots(entries, np.zeros((1, 16, 2), int), np.full((1, 128), -128))
    assert lowest.item() == largest_additive_sum(2, 128, 128)


def test_other_lengths_are_refused():
    with pytest.raises(ValueError, match="codes of 16 weights for 8 activations"):
        e8p_dots(np.zeros((1, 2), int), np.zeros((1, 8), int))
    with pytest.raises(ValueError, match="codes of 8 weights for 9 activations"):
        additive_dots(np.zeros((1, 2, 8), int), np.zeros((1, 1, 1), int), np.zeros((1, 9), int))
