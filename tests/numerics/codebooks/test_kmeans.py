"""K-means of rows against the definition in plain Python and numpy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, quantize
from numerics.codebooks import kmeans_arrays
from numerics.codebooks.kmeans import KMeans, train
from numerics.structures.any_precision import AnyPrecision

RNG = np.random.default_rng(5)
SCHEMES = [KMeans(code_bits=3), KMeans(code_bits=4)]
X = np.float32(RNG.standard_t(4, size=(8, 200)) * np.exp2(RNG.integers(-9, 9, (8, 1))))
X[0] = np.round(X[0] / np.abs(X[0]).max() * 6)
X[1] = 0
X[2, :190] = 0.25
X[3] *= np.float32(1e6)
X[4] *= np.float32(1e-6)
X[5] *= np.float32(1e-38)


def reference(x, bits):
    """Return codes and tables of rows by the definition."""
    codes, tables = [], []
    for row in x:
        row = np.where(np.abs(row) < 2.0**-126, 0, row).astype(np.float32)
        amax = np.abs(row).max()
        values = np.round(row / (amax or np.float32(1)) * 32768).astype(int)
        centers = train(values.tolist(), 1 << bits)
        table = np.float32(centers) / np.float32(32768) * amax
        tables.append(np.clip(table, -65504, 65504).astype(np.float16))
        stored = tables[-1].astype(np.float32)
        middles = [(low + high) / np.float32(2) for low, high in itertools.pairwise(stored)]
        codes.append([sum(value > middle for middle in middles) for value in row])
    return np.array(codes), np.array(tables)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_codes_and_tables_equal_the_reference(scheme):
    q = quantize(jnp.asarray(X), scheme)
    codes, tables = reference(X, scheme.code_bits)
    assert np.array_equal(np.asarray(q.arrays["codebook"]), tables)
    assert np.array_equal(np.asarray(q.codes), codes)
    for field in scheme.layout(X.shape):
        assert (q.arrays[field.name].shape, q.arrays[field.name].dtype) == (
            field.shape,
            field.dtype,
        )
    expected = np.take_along_axis(np.float32(tables), codes, axis=1)
    assert np.array_equal(np.asarray(q.dequantize()), expected)
    assert not expected[1].any()


def test_centers_equal_plain_python_where_values_tie():
    values = np.sort(RNG.integers(-6, 7, (40, 24)), axis=1).astype(np.int32)
    values[:20] *= 3000
    found = np.asarray(jax.jit(kmeans_arrays.train, static_argnums=1)(jnp.asarray(values), 4))
    assert [train(row, 4) for row in values.tolist()] == found.tolist()


def test_no_center_is_better_placed_at_the_end():
    """Every center is the rounded mean of the values nearest to it."""
    values = RNG.integers(-32768, 32769, 500)
    centers = np.array(train(values.tolist(), 8))
    nearest = np.abs(values[:, None] - centers).argmin(1)
    means = [values[nearest == i].mean() for i in range(8)]
    assert np.abs(means - centers).max() <= 0.5


@pytest.mark.parametrize(("scheme", "most"), [(SCHEMES[0], 0.03454), (SCHEMES[1], 0.0102)])
def test_normal_weights_have_about_the_least_error_there_is(scheme, most):
    """The best 8 levels of a normal distribution have error 0.03454, the best 16 0.0095 (Max)."""
    x = RNG.standard_normal((16, 1024)).astype(np.float32)
    error = np.mean((np.asarray(fake_quantize(jnp.asarray(x), scheme)) - x) ** 2)
    assert 0.9 * most < error < most


def test_results_are_the_same_however_they_are_run():
    x, scheme = jnp.asarray(X), SCHEMES[0]
    expected = np.asarray(fake_quantize(x, scheme))
    one = lambda row: (fake_quantize(row[None] * 1.0, scheme)[0] + 0.0) * 1.0  # noqa: E731
    found = jax.jit(jax.vmap(one))(x)
    assert np.array_equal(np.asarray(found), expected)


def test_a_row_with_nan_or_infinity_is_poisoned():
    x = X.copy()
    x[6, 3], x[7, 150] = np.nan, np.inf
    q = quantize(jnp.asarray(x), SCHEMES[0])
    assert np.isnan(np.asarray(q.dequantize())).all(1).tolist() == [False] * 6 + [True, True]
    assert not np.asarray(q.codes)[6:].any() and np.isfinite(np.asarray(q.dequantize())[:6]).all()


def test_a_nan_is_found_wherever_it_stands_in_a_long_row():
    x = RNG.standard_normal((3, 2048)).astype(np.float32)
    for row, place in enumerate((0, 1, 1024)):
        x[row, place] = np.nan
    for scheme in (SCHEMES[0], AnyPrecision(bits=3)):
        assert np.isnan(np.asarray(fake_quantize(jnp.asarray(x), scheme))).all()


def test_storage_and_limits():
    bits = [KMeans(code_bits=b).bits_per_weight((4, 4096)) for b in range(3, 9)]
    assert bits == [3.03125, 4.0625, 5.125, 6.25, 7.5, 9.0]
    with pytest.raises(ValueError, match=r"^kmeans3 has rows of up to 65535 values, not 65536$"):
        quantize(jnp.zeros((1, 65536)), SCHEMES[0])
    with pytest.raises(ValueError, match=r"^k-means has codes of 1 to 8 bits, not 9$"):
        KMeans(code_bits=9)
