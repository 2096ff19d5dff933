"""Additive codebooks against the definition in plain Python, and AQLM's storage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, quantize
from numerics.codebooks import lloyd, lloyd_arrays
from numerics.codebooks.additive import Additive, residual_codes
from numerics.codebooks.search import first_equal, nearest
from numerics.schemes.tensor import QuantizedTensor

RNG = np.random.default_rng(11)
X = np.float32(RNG.standard_t(4, size=(12, 44)) * np.exp2(RNG.integers(-6, 6, (12, 1))))
X[0], X[1] = 0, np.round(X[1] * 2) / 2
SMALL = Additive(codebooks=2, code_bits=3)


def nearest_entries(vectors, table):
    """Return what `lloyd.nearest` returns, by NumPy integers: exact, and fast for many entries."""
    shift = lloyd.search_shift(vectors.tolist(), table.tolist())
    vectors, table = ((x + ((1 << shift) >> 1)) >> shift for x in (vectors, table))
    return ((vectors[:, None] - table) ** 2).sum(2).argmin(1)


def trained_table(vectors, count):
    """Return what `lloyd.train` returns, by NumPy integers."""
    table = vectors[lloyd.spread(count, len(vectors))]
    for _ in range(lloyd.MAX_ROUNDS):
        is_owner = nearest_entries(vectors, table) == np.arange(count)[:, None]
        sizes, sums = is_owner.sum(1)[:, None], is_owner.astype(np.int64) @ vectors
        moved = np.where(sizes > 0, (2 * sums + sizes) // np.maximum(2 * sizes, 1), table)
        if np.array_equal(moved, table):
            break
        table = moved
    return table.astype(np.float16).astype(np.int64)


def residual_arrays(vectors, codebooks, code_bits):
    """Return what `residual_codes` returns, by NumPy integers."""
    left, tables, codes = np.array(vectors), [], []
    for _ in range(codebooks):
        chosen = lloyd.training_set(1 << code_bits, len(left))
        tables.append(trained_table(left[chosen], 1 << code_bits))
        codes.append(nearest_entries(left, tables[-1]))
        left = np.clip(left - tables[-1][codes[-1]], -lloyd.MAX_UNITS, lloyd.MAX_UNITS)
    return tables, codes


def reference(x, scheme, search):
    """Return codebooks, codes, scales and values of rows by the definition."""
    squares = np.pad(x * x, ((0, 0), (0, (1 << (x.shape[1] - 1).bit_length()) - x.shape[1])))
    while squares.shape[1] > 1:
        squares = squares[:, : squares.shape[1] // 2] + squares[:, squares.shape[1] // 2 :]
    scales = (np.sqrt(squares) / np.float32(np.sqrt(x.shape[1]))).astype(np.float16)
    rows = np.divide(x, np.float32(scales), out=np.zeros_like(x), where=scales > 0)
    units = np.clip(np.round(rows * 1024), -8192, 8192).astype(int)
    vectors = np.pad(units, ((0, 0), (0, -x.shape[1] % 8))).reshape(-1, 8)
    tables, codes = search(vectors.tolist(), scheme.codebooks, scheme.code_bits)
    tables, codes = np.array(tables) / 1024, np.array(codes).T
    values = tables[np.arange(scheme.codebooks), codes].sum(1)
    rows = np.float32(values).reshape(len(x), -1)[:, : x.shape[1]] * np.float32(scales)
    return tables, codes, scales.ravel(), rows


@pytest.mark.parametrize(
    ("scheme", "search"),
    [
        (SMALL, residual_codes),
        (SMALL, residual_arrays),
        (Additive(codebooks=1, code_bits=9), residual_arrays),
    ],
    ids=["2x3", "2x3-numpy", "1x9-numpy"],
)
def test_codes_codebooks_and_values_equal_the_reference(scheme, search):
    q = quantize(jnp.asarray(X), scheme)
    tables, codes, scales, values = reference(X, scheme, search)
    expected = {"codes": codes, "codebooks": tables, "scales": scales}
    for field in scheme.layout(X.shape):
        array = np.asarray(q.arrays[field.name])
        assert (array.shape, array.dtype) == (field.shape, field.dtype)
        assert np.array_equal(array, expected[field.name].reshape(field.shape))
    assert np.array_equal(np.asarray(q.dequantize()), values)
    assert not values[0].any()


@pytest.mark.parametrize("size", [1, 40, 900, 2600])
def test_training_and_search_equal_plain_python(size):
    values = np.clip(np.round(RNG.standard_t(4, size=(120, 8)) * size), -8192, 8192)
    vectors = values.astype(np.int32)
    table = np.asarray(TRAIN(jnp.asarray(vectors), 8))
    assert lloyd.train(vectors.tolist(), 8) == table.tolist()
    found = NEAREST(jnp.asarray(vectors), jnp.asarray(table))
    assert lloyd.nearest(vectors.tolist(), table.tolist()) == found.tolist()


TRAIN = jax.jit(lloyd_arrays.train, static_argnums=1)
NEAREST = jax.jit(nearest)


@pytest.mark.parametrize(
    ("size", "length"), [(3, 8), (900, 8), pytest.param(2600, 5, marks=pytest.mark.slow)]
)
def test_vectors_that_are_entries_are_found_without_a_search(size, length):
    values = np.clip(np.round(RNG.standard_t(4, size=(40, length)) * size), -8192, 8192)
    vectors = values.astype(np.int32)
    table = np.concatenate([vectors[[7, 9]] + 1, vectors[5:20], vectors[:30]])
    found = NEAREST(jnp.asarray(vectors), jnp.asarray(table))
    assert lloyd.nearest(vectors.tolist(), table.tolist()) == found.tolist()
    same = np.asarray(first_equal(jnp.asarray(vectors), jnp.asarray(table)))
    equal = (vectors[:, None] == table).all(2)
    assert np.array_equal(same < len(table), equal.any(1)) and not equal[30:].any()
    assert np.array_equal(same[:30], equal.argmax(1)[:30])


def test_training_with_as_many_entries_as_vectors_equals_plain_python():
    vectors = np.round(RNG.normal(0, 1024, (24, 8))).astype(np.int32)
    vectors[3:9] = vectors[9] + RNG.integers(-2, 3, (6, 8))
    table = np.asarray(TRAIN(jnp.asarray(vectors), 32))
    assert lloyd.train(vectors.tolist(), 32) == table.tolist()


def test_dropped_bits_cost_little():
    """The search drops bits of long vectors; the error of its entry is nearly the least."""
    vectors = np.round(RNG.normal(0, 1024, (120, 8))).astype(np.int32)
    table = vectors[:8] + 100
    assert lloyd.search_shift(vectors.tolist(), table.tolist()) == 2
    found = np.asarray(NEAREST(jnp.asarray(vectors), jnp.asarray(table)))
    distances = ((vectors[:, None] - table) ** 2).sum(2).astype(float)
    taken = distances[np.arange(120), found]
    assert np.sqrt(taken).sum() < 1.001 * np.sqrt(distances.min(1)).sum()


def test_sums_are_in_the_order_of_the_codebooks():
    table = np.zeros((3, 2, 8), np.float16)
    table[0, 1], table[1, 1], table[2, 1] = 1, 2.0**-24, -1
    codes = np.ones((1, 1, 3), np.uint8)
    arrays = {"codes": codes, "codebooks": table, "scales": np.float16([2])}
    scheme = Additive(codebooks=3, code_bits=1)
    placed = {name: jnp.asarray(array) for name, array in arrays.items()}
    values = QuantizedTensor(arrays=placed, scheme=scheme, shape=(1, 8)).dequantize()
    assert np.asarray(values).tolist() == [[0.0] * 8]


def test_normal_weights_have_the_error_of_two_bits():
    x = RNG.standard_normal((64, 2048)).astype(np.float32)
    scheme = Additive(codebooks=2, code_bits=8)
    error = np.mean((np.asarray(fake_quantize(jnp.asarray(x), scheme)) - x) ** 2)
    assert 0.0625 < error < 0.1175, "between the bound of any code and the best of four levels"


def test_results_are_the_same_however_they_are_run():
    x = jnp.asarray(X)
    one = lambda matrix: (fake_quantize(matrix * 1.0, SMALL) + 0.0) * 1.0  # noqa: E731
    found = jax.jit(jax.vmap(one))(jnp.stack([x[:, ::-1], x]))
    assert np.array_equal(np.asarray(found)[1], np.asarray(fake_quantize(x, SMALL)))


def test_a_row_with_nan_or_infinity_trains_as_zeros():
    x, zeroed = X.copy(), X.copy()
    x[3, 7], x[5, 40] = np.nan, np.inf
    zeroed[[3, 5]] = 0
    q, expected = (quantize(jnp.asarray(matrix), SMALL) for matrix in (x, zeroed))
    assert np.array_equal(q.arrays["codebooks"], expected.arrays["codebooks"])
    bad = np.isnan(np.asarray(q.dequantize()))
    assert bad.all(1).tolist() == [row in (3, 5) for row in range(12)] and bad.sum() == 2 * 44
    assert not np.asarray(q.codes)[[3, 5]].any()


LLAMA_2_7B = [(4096, 4096)] * 4 + [(11008, 4096)] * 2 + [(4096, 11008)]


@pytest.mark.parametrize(
    ("codebooks", "code_bits", "expected"),
    [(1, 15, 2.0234), (1, 16, 2.2935), (2, 8, 2.0056), (2, 12, 3.0396), (1, 8, 1.0045)],
)
def test_storage_is_that_of_the_paper(codebooks, code_bits, expected):
    scheme = Additive(codebooks=codebooks, code_bits=code_bits)
    sizes = [rows * columns for rows, columns in LLAMA_2_7B]
    bits = [scheme.bits_per_weight(shape) for shape in LLAMA_2_7B]
    assert np.average(bits, weights=sizes) == pytest.approx(expected, abs=5e-5)


def test_codebooks_are_counted():
    with pytest.raises(ValueError, match=r"bits, not 0 of 8$"):
        Additive(codebooks=0, code_bits=8)


def test_dropped_bits_are_rounded_half_up():
    table = np.zeros((3, 8), np.int32)
    table[1, 0], table[2, 0] = 4, 8192
    vectors = np.zeros((4, 8), np.int32)
    vectors[:, 0] = [2, 1, -2, 5]
    found = NEAREST(jnp.asarray(vectors), jnp.asarray(table)).tolist()
    assert found == lloyd.nearest(vectors.tolist(), table.tolist()) == [1, 0, 0, 1]
