"""SpQR against the vector of its code and an independent reference in numpy."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, quantize
from numerics.formats import FP16, FP32
from numerics.structures.spqr import SpQR

RNG = np.random.default_rng(9)
X = np.float32(RNG.standard_t(4, size=(21, 37)) * np.exp2(RNG.integers(-3, 3, (21, 1))))
X[2], X[3, :16], X[4, 16:32] = 0, 0.75, -0.3
X[5:, 32:] += 4
DENSE, WITH_OUTLIERS = SpQR(bits=3), SpQR(bits=3, outliers=0.02)
F = np.float32


def test_the_published_vector_comes_out():
    row, column = np.ogrid[:16, :16]
    w = F((((16 * row + column) * 37 % 101) - 50) / 50)
    q = quantize(jnp.asarray(w), SpQR(bits=3, second=FP32))
    assert q.arrays["scale_codes"].ravel().tolist() == [
        3, 3, 0, 3, 3, 3, 3, 3, 7, 0, 7, 3, 0, 3, 3, 3,
    ]  # fmt: skip
    assert q.arrays["zero_codes"].ravel().tolist() == [
        5, 0, 5, 1, 5, 2, 5, 3, 2, 2, 3, 2, 7, 3, 0, 4,
    ]  # fmt: skip
    step, zero = 0.0028571445, -90.999947
    assert q.scales[0, 0].tolist() == pytest.approx([-zero * step, step], rel=1e-6)
    step, zero = 0.08136548, -40.270096
    assert q.arrays["zeros"][0, 0].tolist() == pytest.approx([-zero * step, step], rel=1e-6)
    assert q.codes[0].tolist() == [0, 3, 5, 1, 3, 6, 1, 4, 7, 2, 5, 0, 3, 6, 1, 4]
    values = np.asarray(q.dequantize())
    first = [-0.98926, -0.18355, 0.35359, -0.72069, -0.18355, 0.62217, -0.72069, 0.08502, 0.89074]
    assert values[0, :9] == pytest.approx(first, abs=5e-6)
    assert np.linalg.norm(values - w) / np.linalg.norm(w) == pytest.approx(0.1293, abs=5e-5)


def fit(group, bits):
    if len(group) == 0:
        return F(0), F(0)
    low, high = group.min(), group.max()
    scale = (high - low) / F(2**bits - 1)
    return (abs(low), -np.sign(low)) if scale == 0 else (scale, -low / scale)


def error(group, bits):
    scale, zero = fit(group, bits)
    codes = np.round(np.clip(group / max(scale, F(1e-9)) + zero, 0, 2**bits - 1))
    squares = np.pad(((codes - zero) * scale - group) ** 2, (0, 16 - len(group)))
    return squares


def total(squares):
    while len(squares) > 1:
        squares = squares[: len(squares) // 2] + squares[len(squares) // 2 :]
    return squares[0]


def gain(group, place, bits):
    """Return the reduction of a group's squared error when one value is removed."""
    without = np.delete(group, place)
    squares = np.insert(error(without, bits)[: len(without)], place, 0)
    return total(error(group, bits)) - total(np.pad(squares, (0, 16 - len(squares))))


def second_level(of, fmt):
    """Return codes, least and step of up to 16 rows, and the dequantized numbers."""
    store = (lambda x: np.float16(x)) if fmt == FP16 else F
    low = store(of.min())
    step = store((of.max() - F(low)) / F(7))
    parts = (of - F(low)) / F(step) if step > 0 else np.zeros_like(of)
    codes = np.round(np.clip(parts, 0, 7))
    return codes, low, step, F(low) + F(codes) * F(step)


def reference(x, scheme):
    """Return arrays by name, and dequantized values, by the definition."""
    bits, rows, columns = scheme.bits, *x.shape
    starts = range(0, columns, 16)
    outliers = np.zeros(x.shape, bool)
    if scheme.outliers:
        gains = np.array(
            [
                [gain(row[c // 16 * 16 : c // 16 * 16 + 16], c % 16, bits) for c in range(columns)]
                for row in x
            ]
        )
        count = scheme.outlier_count(x.shape)
        outliers.flat[np.argsort(-gains.ravel(), kind="stable")[:count]] = True
    pairs = [
        [fit(x[r, s : s + 16][~outliers[r, s : s + 16]], bits) for s in starts] for r in range(rows)
    ]
    statistics = np.array(pairs, F)
    tiles = (-(-rows // 16), len(starts), 2)
    arrays = {
        "scale_codes": np.zeros(statistics.shape[:2]),
        "zero_codes": np.zeros(statistics.shape[:2]),
        "scales": np.zeros(tiles, F),
        "zeros": np.zeros(tiles, F),
    }
    back = np.zeros_like(statistics)
    for tile, group, part in itertools.product(range(tiles[0]), range(tiles[1]), (0, 1)):
        here = slice(16 * tile, 16 * tile + 16)
        found = second_level(statistics[here, group, part], scheme.second)
        arrays[("scale_codes", "zero_codes")[part]][here, group] = found[0]
        arrays[("scales", "zeros")[part]][tile, group] = found[1:3]
        back[here, group, part] = found[3]
    scale, zero = (np.repeat(back[..., part], 16, axis=1)[:, :columns] for part in (0, 1))
    kept = np.where(outliers, F(0), x)
    codes = np.round(np.clip(kept / np.maximum(scale, F(1e-9)) + zero, 0, 2**bits - 1))
    values = F(codes - zero) * scale
    if scheme.outliers:
        flat = np.flatnonzero(outliers)
        arrays["outliers"] = np.float16(x.flat[flat])
        arrays["outlier_columns"] = flat % columns
        arrays["row_starts"] = np.searchsorted(flat, np.arange(rows + 1) * columns)
        special = F(np.float16(x)) + (values if scheme.adds else 0)
        values = np.where(outliers, special, values)
    return {"codes": codes, **arrays}, values


@pytest.mark.parametrize(
    "scheme",
    [
        DENSE,
        WITH_OUTLIERS,
        pytest.param(SpQR(bits=4, outliers=0.05, adds=True, second=FP32), marks=pytest.mark.slow),
    ],
    ids=lambda scheme: scheme.name,
)
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


def test_groups_of_equals_are_kept_as_well_as_the_second_level_can():
    x = np.zeros((16, 32), np.float32)
    x[:, 16:] = -0.75
    assert np.array_equal(np.asarray(fake_quantize(jnp.asarray(x), DENSE)), x)


def test_what_is_added_differs_by_what_the_code_of_zero_means():
    added = dataclasses.replace(WITH_OUTLIERS, adds=True)
    q = quantize(jnp.asarray(X), WITH_OUTLIERS)
    replaced, sums = q.dequantize(), dataclasses.replace(q, scheme=added).dequantize()
    difference = np.asarray(sums) - np.asarray(replaced)
    assert np.count_nonzero(difference) <= WITH_OUTLIERS.outlier_count(X.shape)
    assert np.abs(difference).max() > 0


def test_outliers_lower_the_error():
    errors = [
        np.mean((np.asarray(fake_quantize(jnp.asarray(X), scheme)) - X) ** 2)
        for scheme in (DENSE, WITH_OUTLIERS)
    ]
    assert errors[1] < 0.8 * errors[0]


def test_results_are_the_same_however_they_are_run_and_leading_axes_are_rows():
    x = jnp.asarray(X)
    one = lambda tensor: (fake_quantize(tensor * 1.0, DENSE) + 0.0) * 1.0  # noqa: E731
    found = np.asarray(jax.jit(jax.vmap(one))(jnp.stack([x[::-1], x]).reshape(2, 3, 7, 37)))
    assert np.array_equal(found[1].reshape(21, 37), np.asarray(fake_quantize(x, DENSE)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_tile_with_nan_or_infinity_is_poisoned(bad):
    x, zeroed = X.copy(), X.copy()
    x[18, 20], zeroed[18, 20] = bad, 0
    for scheme in (DENSE, WITH_OUTLIERS):
        values = np.asarray(fake_quantize(jnp.asarray(x), scheme))
        expected = np.asarray(fake_quantize(jnp.asarray(zeroed), scheme)).copy()
        expected[16:, 16:32] = np.nan
        assert np.array_equal(values, expected, equal_nan=True)


def test_names_storage_and_limits():
    assert SpQR(bits=3, outliers=0.01, adds=True).name == "spqr-3-o1-add"
    shape = (4096, 4096)
    bits = {b: SpQR(bits=b).bits_per_weight(shape) for b in (2, 3, 4)}
    assert bits == {2: 2.625, 3: 3.625, 4: 4.625}
    with_outliers = SpQR(bits=3, outliers=0.01)
    assert with_outliers.bits_per_weight(shape) == pytest.approx(3.945, abs=1e-5)
    pointers = 32 * 4097 / 4096**2
    stored = with_outliers.bits_per_weight(shape, kind="stored")
    assert stored == pytest.approx(4.32 + pointers, abs=1e-5)
    with pytest.raises(ValueError, match=r"^SpQR has codes of 2 to 8 bits, not 9$"):
        SpQR(bits=9)
    with pytest.raises(ValueError, match=r"is at least 0 and below 1, not 1.0$"):
        SpQR(bits=3, outliers=1.0)
    with pytest.raises(ValueError, match=r"has up to 65536 columns, not 65537$"):
        DENSE.check_shape((1, 65537))
