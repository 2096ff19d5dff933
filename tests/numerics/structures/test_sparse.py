"""N:M sparsity against the definition in plain Python around the dense scheme."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, quantize
from numerics.formats import E2M1, IntFormat
from numerics.structures.sparse import Sparse, kept

RNG = np.random.default_rng(4)
X = np.float32(RNG.standard_normal((9, 74)))
X[0], X[1], X[2, ::3] = 0, np.round(X[1]), -0.0
SCHEMES = [
    Sparse(keep=2, block=4, element=IntFormat(name="int4", bits=4), size=32),
    Sparse(keep=1, block=4, element=E2M1, size=16),
    Sparse(keep=6, block=16, element=IntFormat(name="int8", bits=8), size=64),
]


def reference(x, scheme):
    """Return the positions of kept numbers, and the mask of kept numbers."""
    positions, mask = [], np.zeros(x.shape, bool)
    padded = np.pad(x, ((0, 0), (0, -x.shape[1] % scheme.block)))
    for number, row in enumerate(padded):
        for start in range(0, len(row), scheme.block):
            block = row[start : start + scheme.block]
            found = kept(block.tolist(), scheme.keep)
            positions.append(found)
            inside = [start + place for place in found if start + place < x.shape[1]]
            mask[number, inside] = True
    return np.array(positions), mask


@pytest.mark.parametrize(
    "scheme",
    [*SCHEMES[:2], pytest.param(SCHEMES[2], marks=pytest.mark.slow)],
    ids=lambda scheme: scheme.name,
)
def test_arrays_and_values_equal_the_reference(scheme):
    q = quantize(jnp.asarray(X), scheme)
    positions, mask = reference(X, scheme)
    for field in scheme.layout(X.shape):
        array = np.asarray(q.arrays[field.name])
        assert (array.shape, array.dtype) == (field.shape, field.dtype)
    assert np.array_equal(np.asarray(q.arrays["positions"]).reshape(positions.shape), positions)
    dense = quantize(jnp.asarray(np.where(mask, X, 0)), scheme.dense)
    assert np.array_equal(np.asarray(q.scales), np.asarray(dense.scales))
    values = np.where(mask, np.asarray(dense.dequantize()), 0)
    assert np.array_equal(np.asarray(q.dequantize()), values)
    assert np.array_equal(np.asarray(fake_quantize(jnp.asarray(X), scheme)), values)
    codes = np.pad(np.asarray(dense.codes), ((0, 0), (0, -X.shape[1] % scheme.block)))
    blocks = codes.reshape(9, -1, scheme.block)
    assert np.array_equal(
        np.asarray(q.codes), np.take_along_axis(blocks, positions.reshape(q.codes.shape), axis=2)
    )


def test_of_equal_magnitudes_the_first_are_kept():
    x = jnp.float32([[1, -1, 1, 1, 0, 0, 2, 0]])
    scheme = Sparse(keep=2, block=4, element=IntFormat(name="int4", bits=4), size=8)
    assert np.asarray(quantize(x, scheme).arrays["positions"]).tolist() == [[[0, 1], [0, 2]]]


def test_results_are_the_same_however_they_are_run():
    one = lambda row: (fake_quantize(row[None] * 1.0, SCHEMES[0])[0] + 0.0) * 1.0  # noqa: E731
    found = np.asarray(jax.jit(jax.vmap(one))(jnp.asarray(X)))
    assert np.array_equal(found, np.asarray(fake_quantize(jnp.asarray(X), SCHEMES[0])))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_group_with_nan_or_infinity_is_poisoned(bad):
    x = X.copy()
    x[3, 40] = bad
    q = quantize(jnp.asarray(x), SCHEMES[0])
    poisoned = np.zeros(x.shape, bool)
    poisoned[3, 32:64] = True
    assert np.array_equal(np.isnan(np.asarray(q.dequantize())), poisoned)
    assert np.array_equal(np.isnan(np.asarray(fake_quantize(jnp.asarray(x), SCHEMES[0]))), poisoned)


def test_names_and_storage():
    scheme = Sparse(keep=2, block=4, element=IntFormat(name="int8", bits=8))
    assert (scheme.name, scheme.with_group_size(64).name) == ("int8-2-of-4", "int8-2-of-4:g64")
    assert scheme.bits_per_weight((4, 256)) == 5 + 16 / 128
    with pytest.raises(ValueError, match=r"not 4 of 4$"):
        Sparse(keep=4, block=4, element=E2M1)
