"""Top-K sparsity against numpy around the dense scheme."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, quantize
from numerics.formats import IntFormat
from numerics.structures.top_k import TopK

RNG = np.random.default_rng(6)
X = np.float32(RNG.standard_normal((5, 130)))
X[0] = 0
INT8 = IntFormat(name="int8", bits=8)
SCHEME = TopK(percent=39, element=INT8)


def test_arrays_and_values_equal_the_reference():
    q = quantize(jnp.asarray(X), SCHEME)
    dense = quantize(jnp.asarray(X), SCHEME.dense)
    values = np.asarray(dense.dequantize())
    order = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :51]
    marks = np.zeros(X.shape, bool)
    np.put_along_axis(marks, order, True, axis=1)
    for field in SCHEME.layout(X.shape):
        array = np.asarray(q.arrays[field.name])
        assert (array.shape, array.dtype) == (field.shape, field.dtype)
    assert np.array_equal(np.asarray(q.arrays["marks"]), marks)
    assert np.array_equal(np.asarray(q.codes).ravel(), np.asarray(dense.codes)[marks])
    assert np.array_equal(np.asarray(q.scales), np.asarray(dense.scales))
    assert np.array_equal(np.asarray(q.dequantize()), np.where(marks, values, 0))
    assert len(np.unique(np.abs(values[1:]))) < values[1:].size, "there are ties"


def test_the_example_of_two_in_four():
    x = jnp.float32([[0.1, -2, 0.5, 1.5]])
    values = np.asarray(fake_quantize(x, TopK(percent=50, element=INT8)))[0]
    assert np.flatnonzero(values).tolist() == [1, 3]
    assert values == pytest.approx([0, -2, 0, 1.5], abs=2 / 254)


def test_results_are_the_same_however_they_are_run():
    one = lambda row: (fake_quantize(row[None] * 1.0, SCHEME)[0] + 0.0) * 1.0  # noqa: E731
    found = np.asarray(jax.jit(jax.vmap(one))(jnp.asarray(X)))
    assert np.array_equal(found, np.asarray(fake_quantize(jnp.asarray(X), SCHEME)))


def test_a_row_with_nan_or_infinity_is_poisoned():
    x = X.copy()
    x[1, 7], x[3, 129] = np.nan, np.inf
    q = quantize(jnp.asarray(x), SCHEME)
    bad = np.isnan(np.asarray(q.dequantize()))
    assert bad.all(1).tolist() == bad.any(1).tolist() == [False, True, False, True, False]
    assert np.flatnonzero(np.asarray(q.arrays["marks"])[1]).tolist() == list(range(51))


def test_names_and_storage():
    assert SCHEME.name == "int8-top39"
    assert SCHEME.bits_per_weight((1, 100)) == 1 + 0.39 * 8 + 32 / 100
    with pytest.raises(ValueError, match=r"^top-K keeps 1 to 99 percent of a row, not 100$"):
        TopK(percent=100, element=INT8)
