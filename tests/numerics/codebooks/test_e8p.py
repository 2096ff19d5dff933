"""E8P against the vectors of QuIP#'s code, brute force, and the definition in plain Python."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, quantize
from numerics.codebooks import e8p, e8p_arrays
from numerics.codebooks.e8p_scheme import E8P, Stage
from numerics.codebooks.entries import ENTRIES

RNG = np.random.default_rng(3)
POINTS = np.array(e8p.points(), np.int64)
HASHES = {
    "4310f9ed6450a9f87bd51399a5e549b66d43ae0800cb3f7494aa7b94aa7c0db4": np.uint8(e8p.rows()),
    "efc2c03c60acd955dc812ff2bade9ec6cc31259807e48473506161f3a9a230ce": e8p.packed_rows(),
    "ea3883a85a627590ca74626320a2a691943386a8c89ac72cdb6388bfe7da5cc0": e8p.points(),
}
# Points of the codebook by code.
SPOTS = {
    0x0002: [-0.75, 0.25, -0.75, 0.25, 0.25, 0.25, 0.25, 0.25],
    0x0080: [-0.75, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25, -0.75],
    0x00FF: [-0.25] * 8,
    0x0100: [0.75] * 7 + [-1.25],
    0x1234: [-0.75, -0.75, 0.25, -0.75, -1.75, 0.25, 0.25, 1.25],
    0x8001: [0.25, 1.25, 1.25, 0.25, 0.25, 1.25, 0.25, -0.75],
    0xABCD: [1.25, 0.25, 0.25, 1.25, -0.75, -1.75, -0.75, 0.25],
    0xFFFF: [-1.25, -1.25, -0.25, -0.25, -1.25, -1.25, -1.25, 0.75],
}
COUNT = 1 << 16


def search(units):
    """Return the codes of vectors, searched in batches of one shape."""
    found = np.zeros(len(units), np.int64)
    for start in range(0, len(units), COUNT):
        batch = units[start : start + COUNT]
        padded = np.pad(batch, ((0, COUNT - len(batch)), (0, 0))).astype(np.int32)
        found[start : start + COUNT] = np.asarray(
            e8p_arrays.search(jnp.asarray(padded.T), Stage.E8P)
        )[: len(batch)]
    return found


def gaussian_and_tied_vectors():
    units = np.round(RNG.normal(0, 1.03, (100, 8)) * 4096).astype(np.int64)
    units[:60] = np.round(units[:60] / 1024) * 1024
    units[60:70] *= 6
    units[70] = 0
    return np.clip(units, -e8p.MAX_UNITS, e8p.MAX_UNITS)


UNITS = gaussian_and_tied_vectors()


def test_tables_have_the_published_hashes():
    for expected, table in HASHES.items():
        assert hashlib.sha256(table.tobytes()).hexdigest() == expected
    words = [f"{e8p.packed_rows()[row]:08X}" for row in (0, 1, 2, 226, 227, 255)]
    assert words == ["99999999", "59999999", "D9999999", "799B999D", "5B99BB9B", "7B9BBB9B"]


def test_points_are_those_of_the_moved_lattice():
    assert len(np.unique(POINTS, axis=0)) == 65536
    assert POINTS.mean() == 0 and abs(POINTS).max() == 11
    norms = (POINTS / 4) ** 2 @ np.ones(8)
    assert (norms.mean(), norms.max()) == (9.5703125, 16.5)
    even = [
        ((POINTS + move) % 4 == 2).all(1) & ((POINTS + move).sum(1) % 8 == 0) for move in (-1, 1)
    ]
    assert (even[0] ^ even[1]).all()
    for code, point in SPOTS.items():
        assert [value / 4 for value in e8p.decode(code)] == point
    for code in range(0, 65536, 7):
        assert (*POINTS[code],) == e8p.decode(code)


def test_every_point_comes_back():
    assert np.array_equal(search(POINTS * 1024), np.arange(65536))
    for code in SPOTS:
        assert e8p.encode([1024 * value for value in e8p.decode(code)]) == code


@pytest.mark.parametrize(
    ("x", "code"),
    [
        ([0.3, -1.2, 0.7, 2.1, -0.4, 0.05, -2.6, 1.0], 0x25DD),
        ([0.1] * 8, 0x0001),
        ([0.0] * 8, 0x00FF),
        ([-3, 0, 0, 0, 0, 0, 0, 3], 0xDCFF),
    ],
)
def test_vectors_of_the_published_code(x, code):
    units = np.array([[round(value * 4096) for value in x]])
    assert e8p.encode(units[0].tolist()) == search(units)[0] == code


def test_search_equals_plain_python_and_brute_force():
    found = search(UNITS)
    assert [e8p.encode(units) for units in UNITS[:80].tolist()] == found[:80].tolist()
    distances = [((POINTS * 1024 - units) ** 2).sum(1) for units in UNITS]
    for units, code, every in zip(UNITS, found, distances, strict=True):
        assert ((POINTS[code] * 1024 - units) ** 2).sum() == every.min()


def test_e81b_has_240_short_and_15_longer_points():
    norms = (e8p.e81b_points() ** 2).sum(1) // 4
    assert np.unique(norms, return_counts=True)[1].tolist() == [1, 240, 15]
    assert len(np.unique(e8p.e81b_points(), axis=0)) == 256


def reference(x, stages):
    """Return scales, codes and values of rows by brute force."""
    width = 1 << (x.shape[1] - 1).bit_length()
    squares = np.pad(x * x, ((0, 0), (0, width - x.shape[1])))
    while squares.shape[1] > 1:
        squares = squares[:, : squares.shape[1] // 2] + squares[:, squares.shape[1] // 2 :]
    target = 0.98 if stages[-1] == "e81b" else 1.03
    over = np.float32(np.sqrt(x.shape[1]) * target)
    scales = (np.sqrt(squares) / over).astype(np.float16)
    rows = np.pad(x / np.float32(scales), ((0, 0), (0, -x.shape[1] % 8)))
    units = np.clip(np.round(rows * 4096), -32768, 32768).reshape(-1, 8).astype(np.int64)
    tables = {"e8p": (POINTS, 3.45), "e81b": (2 * e8p.e81b_points().astype(np.int64), 2.04)}
    codes, points = [], []
    for stage in stages:
        table, factor = tables[stage]
        if codes:
            left = np.float32(units - points[-1] * 1024) * np.float32(factor)
            units = np.clip(np.round(left), -32768, 32768).astype(np.int64)
        score = 2 * units @ (table.T * 1024) - (table.T**2).sum(0) * 2**20
        best = score.max(1, keepdims=True) == score
        codes.append(search(units) if stage == "e8p" else best.argmax(1))
        assert best[np.arange(len(units)), codes[-1]].all()
        points.append(table[codes[-1]])
    values = points[-1] / np.float32(4)
    for stage, point in zip(stages[:0:-1], points[-2::-1], strict=True):
        values = point / np.float32(4) + np.float32(values) / np.float32(tables[stage][1])
    rows = np.float32(values).reshape(len(x), -1)[:, : x.shape[1]] * np.float32(scales)
    return codes, scales.ravel(), rows


X = np.float32(RNG.standard_normal((6, 44)) * np.exp2(RNG.integers(-6, 6, (6, 1))))
# Squared errors of the schemes in order; the first three are published in QuIP#.
MSE = (0.0913, 0.0296, 0.00967)
SCHEMES = [scheme for scheme, _ in ENTRIES.values() if isinstance(scheme, E8P)]


@pytest.mark.parametrize(
    "scheme",
    [*SCHEMES[:2], *(pytest.param(scheme, marks=pytest.mark.slow) for scheme in SCHEMES[2:])],
    ids=lambda scheme: scheme.name,
)
def test_codes_scales_and_values_equal_the_reference(scheme):
    q = quantize(jnp.asarray(X), scheme)
    codes, scales, values = reference(X, scheme.stages)
    assert list(q.arrays) == [field.name for field in scheme.layout(X.shape)]
    for field, expected in zip(scheme.layout(X.shape), [*codes, scales], strict=True):
        array = np.asarray(q.arrays[field.name])
        assert array.shape == field.shape and array.dtype == field.dtype
        assert np.array_equal(array.ravel(), expected)
    assert np.array_equal(np.asarray(q.dequantize()), values)


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        pytest.param(*pair, marks=[pytest.mark.slow] * (pair[0] != SCHEMES[0]))
        for pair in zip(SCHEMES, MSE, strict=False)
    ],
)
def test_squared_errors_are_the_published_ones(scheme, expected):
    x = RNG.standard_normal((64, 8192)).astype(np.float32)
    error = np.mean((np.asarray(fake_quantize(jnp.asarray(x), scheme)) - x) ** 2)
    assert error == pytest.approx(expected, rel=0.01)


def test_results_are_the_same_however_they_are_run():
    x, scheme = jnp.asarray(X), SCHEMES[0]
    expected = np.asarray(fake_quantize(x, scheme))
    one = lambda row: (fake_quantize(row[None] * 1.0, scheme)[0] + 0.0) * 1.0  # noqa: E731
    found = jax.jit(jax.vmap(one))(x)
    assert np.array_equal(np.asarray(found), expected)


def test_zero_rows_and_rows_with_nan_or_infinity():
    x = X.copy()
    x[0], x[1, 3], x[2, 40] = 0, np.nan, -np.inf
    q = quantize(jnp.asarray(x), SCHEMES[0])
    values = np.asarray(q.dequantize())
    assert np.array_equal(np.isnan(values).all(1), [False, True, True, False, False, False])
    assert not np.isnan(values[[0, 3, 4, 5]]).any() and not np.asarray(q.codes)[1:3].any()
    assert float(q.scales[0]) == 0 and not values[0].any()


def test_decoded_integers_multiply_as_the_floats_do():
    codes, x = RNG.integers(0, 65536, 1000), RNG.integers(-127, 128, (1000, 8))
    whole = (POINTS[codes] * x).sum(1)
    assert np.array_equal(whole / 4, (np.float32(POINTS[codes] / 4) * np.float32(x)).sum(1))


def test_names_storage_and_stages():
    assert [scheme.name for scheme in SCHEMES] == ["e8p", "e8p-e81b", "e8p-2", "e8p-3"]
    bits = [scheme.bits_per_weight((4096, 4096), kind="index") for scheme in SCHEMES]
    assert bits == [2.0, 3.0, 4.0, 6.0]
    assert E8P().bits_per_weight((4096, 4096)) == 2 + 16 / 4096
    with pytest.raises(ValueError, match=r"only the last one e81b, not e81b, e8p$"):
        E8P(stages=(Stage.E81B, Stage.E8P))
