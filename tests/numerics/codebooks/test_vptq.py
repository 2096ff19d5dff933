"""VPTQ against the definition in plain Python, and its storage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, quantize
from numerics.codebooks import lloyd
from numerics.codebooks.vptq import Codebook, Vptq

RNG = np.random.default_rng(2)
X = np.float32(RNG.standard_t(4, size=(45, 20)) * np.exp2(RNG.integers(-6, 6, (1, 20))))
X[:, 3], X[:, 4] = 0, 0.75
SMALL = Vptq(main=Codebook(length=4, bits=3), residual_bits=2)
OUTLIERS = Vptq(
    main=Codebook(length=6, bits=3), outlier_codebook=Codebook(length=4, bits=5), outliers=0.11
)


def half(x):
    return np.clip(x, -65504, 65504).astype(np.float16)


def squared_norms(columns):
    squares = np.pad(columns * columns, ((0, 0), (0, 64 - columns.shape[1])))
    while squares.shape[1] > 1:
        squares = squares[:, : squares.shape[1] // 2] + squares[:, squares.shape[1] // 2 :]
    return squares[:, 0]


def one_codebook(units, codebook):
    """Return codes by column, the codebook and the residual, all in integer units."""
    vectors = np.pad(units, ((0, 0), (0, -units.shape[1] % codebook.length)))
    vectors = vectors.reshape(-1, codebook.length)
    chosen = lloyd.training_set(1 << codebook.bits, len(vectors))
    table = lloyd.train(vectors[chosen].tolist(), 1 << codebook.bits)
    codes = np.array(lloyd.nearest(vectors.tolist(), table))
    left = (vectors - np.array(table)[codes]).reshape(len(units), -1)
    return codes.reshape(len(units), -1).T, np.array(table), left


def reference(x, scheme):
    """Return arrays by name, and dequantized values, by the definition."""
    columns = x.T
    order = np.argsort(-squared_norms(columns), kind="stable")
    biases, scales = half(columns.min(1)), half(columns.max(1) - columns.min(1))
    parts = columns - np.float32(biases)[:, None]
    wide = np.float32(scales)[:, None]
    parts = np.divide(parts, wide, out=np.zeros_like(parts), where=wide > 0)
    units = np.round(np.clip(parts, 0, 1) * 8192).astype(int)[order]
    special = int(np.ceil(scheme.outliers * len(columns)))
    arrays = {"scales": scales, "biases": biases, "permutation": order}
    books = [("", scheme.main, units[special:])]
    if scheme.outlier_codebook:
        books.append(("outlier_", scheme.outlier_codebook, units[:special]))
    values = np.zeros((len(columns), x.shape[0]))
    for prefix, codebook, part in books:
        codes, table, left = one_codebook(part, codebook)
        arrays |= {f"{prefix}codes": codes, f"{prefix}codebook": table / 1024}
        padded = np.pad(part, ((0, 0), (0, left.shape[1] - part.shape[1])))
        decoded = padded - left
        if prefix == "" and scheme.residual_bits:
            second = Codebook(length=codebook.length, bits=scheme.residual_bits)
            codes, table, last = one_codebook(left, second)
            arrays |= {"residual_codes": codes, "residual_codebook": table / 1024}
            decoded = padded - last
        where = order[special:] if prefix == "" else order[:special]
        values[where] = decoded[:, : x.shape[0]]
    restored = np.float32(values / 8192) * wide + np.float32(biases)[:, None]
    return arrays, restored.T


@pytest.mark.parametrize("scheme", [SMALL, OUTLIERS], ids=lambda scheme: scheme.name)
def test_arrays_and_values_equal_the_reference(scheme):
    q = quantize(jnp.asarray(X), scheme)
    arrays, values = reference(X, scheme)
    fields = scheme.layout(X.shape)
    assert {field.name for field in fields} == set(q.arrays) == set(arrays)
    for field in fields:
        array = np.asarray(q.arrays[field.name])
        assert (array.shape, array.dtype) == (field.shape, field.dtype)
        assert np.array_equal(array, arrays[field.name]), field.name
    assert np.array_equal(np.asarray(q.dequantize()), values)
    assert not values[:, 3].any() and (values[:, 4] == 0.75).all()


def test_results_are_the_same_however_they_are_run_and_leading_axes_are_rows():
    x = jnp.asarray(X)
    expected = np.asarray(fake_quantize(x, SMALL))
    one = lambda tensor: (fake_quantize(tensor * 1.0, SMALL) + 0.0) * 1.0  # noqa: E731
    found = jax.jit(jax.vmap(one))(jnp.stack([x[::-1], x]).reshape(2, 5, 9, 20))
    assert np.array_equal(np.asarray(found)[1].reshape(45, 20), expected)


@pytest.mark.parametrize("scheme", [SMALL, OUTLIERS], ids=lambda scheme: scheme.name)
def test_a_column_with_nan_or_infinity_trains_as_zeros(scheme):
    x, zeroed = X.copy(), X.copy()
    x[7, 5], x[40, 12] = np.nan, -np.inf
    zeroed[:, [5, 12]] = 0
    q, expected = (quantize(jnp.asarray(matrix), scheme) for matrix in (x, zeroed))
    assert np.array_equal(q.arrays["codebook"], expected.arrays["codebook"])
    bad = np.isnan(np.asarray(q.dequantize()))
    assert bad.all(0).tolist() == [column in (5, 12) for column in range(20)]
    assert bad.sum() == 2 * 45
    places = np.flatnonzero(np.isin(np.asarray(q.arrays["permutation"]), (5, 12)))
    special = scheme.outlier_columns(20)
    assert not np.asarray(q.codes)[:, places[places >= special] - special].any()


LLAMA_2_7B = [(4096, 4096)] * 4 + [(11008, 4096)] * 2 + [(4096, 11008)]


@pytest.mark.parametrize(
    ("length", "bits", "residual", "expected"),
    [
        (6, 12, 0, 2.0227),
        (8, 16, 0, 2.2986),
        (8, 16, 8, 3.2997),
        (8, 8, 8, 2.0107),
        (8, 16, 16, 4.5888),
        (16, 16, 16, 3.1691),
        (12, 12, 12, 2.0657),
        (4, 12, 0, 3.0175),
    ],
)
def test_storage_is_that_of_the_formula(length, bits, residual, expected):
    scheme = Vptq(main=Codebook(length=length, bits=bits), residual_bits=residual)
    assert of_llama(scheme) == pytest.approx(expected, abs=5e-5)


def of_llama(scheme):
    bits = [scheme.bits_per_weight(shape) for shape in LLAMA_2_7B]
    return np.average(bits, weights=[rows * columns for rows, columns in LLAMA_2_7B])


def test_storage_of_outliers():
    scheme = Vptq(
        main=Codebook(length=6, bits=12),
        outlier_codebook=Codebook(length=4, bits=12),
        outliers=0.01,
    )
    assert scheme.name == "vptq-v6-k4096-0-o1-v4-k4096"
    assert of_llama(scheme) == pytest.approx(2.0418, abs=5e-5)


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match=r"^VPTQ has vectors of 1 to 16 weights .* not 17 and 8$"):
        Codebook(length=17, bits=8)
    with pytest.raises(ValueError, match=r"^VPTQ has residuals of 0 to 16 bits, not 17$"):
        Vptq(main=Codebook(length=8, bits=8), residual_bits=17)
    with pytest.raises(ValueError, match=r"^a fraction of outlier columns .* not 0.1 with None$"):
        Vptq(main=Codebook(length=8, bits=8), outliers=0.1)
    with pytest.raises(ValueError, match=r"has up to 65536 columns, not 65537$"):
        SMALL.check_shape((1, 65537))
