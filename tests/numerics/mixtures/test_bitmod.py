"""BitMoD against the vectors of its code and an independent reference in numpy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, parse_scheme, quantize
from numerics.formats import E2M1
from numerics.mixtures.special_value import SpecialValueFormat

BASES = {3: [0, 1, 2, 4], 4: [0, 0.5, 1, 1.5, 2, 3, 4, 6]}
RNG = np.random.default_rng(7)


def halves(text):
    return np.array([int(word, 16) for word in text.split()], np.uint16).view(np.float16)


A = halves("224c a86a 1dbc 2d0d a567 29fa abb5 1481")
C = halves("bbae 3800 3785 b4f6 33ae afae 251f 35c3 b800 2f0a")
EA_PLUS = [8, 6, 4, 3, 2, 1.5, 1, 0.5, 0, -0.5, -1, -1.5, -2, -3, -4, -6]
ER_PLUS = [6, 5, 4, 3, 2, 1.5, 1, 0.5, 0, -0.5, -1, -1.5, -2, -3, -4, -6]
TIES_3 = [4, 3.5, 2.5, 1.5, 0.5, -0.5, -1.5, -3, -4]
TIES_4 = [6, 5.5, 4.5, 3.5, 2.5, 1.75, 1.25, 0.75, 0.25, -0.25, -0.75, -1.25, -2.5, -3.5, -5, -6]
# Rows: weights, bits per weight, chosen special value, scale, values divided by the scale.
VECTORS = [
    (A, 4, 8, 0.00986480712890625, [1, -3, 0.5, 8, -2, 4, -6, 0]),
    (A, 3, -3, 0.0197296142578125, [1, -2, 0, 4, -1, 2, -3, 0]),
    (C, 4, -8, 0.1199951171875, [-8, 4, 4, -3, 2, -1, 0, 3, -4, 1]),
    (C, 3, 3, 0.239990234375, [-4, 2, 2, -1, 1, -1, 0, 2, -2, 0]),
    (TIES_3, 3, -3, 1.0, [4, 4, 2, 1, 0, -1, -2, -3, -4]),
    (TIES_4, 4, -5, 1.0, [6, 6, 4, 3, 2, 1.5, 1, 0.5, 0, -0.5, -1, -1.5, -3, -4, -5, -6]),
    (EA_PLUS, 4, 8, 1.0, EA_PLUS),
    (ER_PLUS, 4, 5, 1.0, ER_PLUS),
    ([0.0, -0.0, 0.0], 4, 5, 1.0, [0, 0, 0]),
]


@pytest.mark.parametrize(("weights", "bits", "special", "scale", "values"), VECTORS)
def test_vectors_of_the_published_code(weights, bits, special, scale, values):
    # Padding with zeros to one size changes neither scale nor choice; all share one program.
    more = 16 - len(weights)
    x = jnp.asarray(np.pad(np.float32(weights)[None], ((0, 0), (0, more))))
    q = quantize(x, parse_scheme(f"bitmod-fp{bits}:g16"))
    fmt = q.scheme.formats[int(q.arrays["selectors"][0, 0])]
    assert (fmt.special, float(q.scales[0, 0])) == (special, scale)
    values = [*values, *[0] * more]
    assert [fmt.decode(int(code)) for code in q.codes[0]] == values
    assert np.array_equal(q.dequantize()[0], np.float32(values) * np.float32(scale))


def reference(x, bits, specials, size):
    """Return selectors, scales and values of rows, group by group."""
    selectors, scales, values = [], [], []
    for row, start in itertools.product(range(len(x)), range(0, x.shape[1], size)):
        group = x[row, start : start + size]
        tried = [one_candidate(group, bits, special) for special in specials]
        best = min(range(len(specials)), key=lambda i: tried[i][0])
        selectors.append(best)
        scales.append(tried[best][1])
        values.append(tried[best][2])
    return np.array(selectors), np.array(scales), np.concatenate(values).reshape(x.shape)


def one_candidate(group, bits, special):
    table = np.sort(np.array([*BASES[bits], *(-v for v in BASES[bits][1:]), special]))
    amax = np.abs(group).max()
    largest = np.float32(np.abs(table).max())
    raw = np.clip(amax / largest, np.float32(2.0**-24), np.float32(65504))
    scale = np.float16(1.0 if amax < 2.0**-126 else raw)
    normalized = group / np.float32(scale)
    index = np.searchsorted((table[1:] + table[:-1]) / 2, normalized, side="left")
    values = np.float32(table[index]) * np.float32(scale)
    squares = (values - group) ** 2
    width = 1 << (len(group) - 1).bit_length()
    squares = np.pad(squares, (0, width - len(group)))
    while len(squares) > 1:
        squares = squares[: len(squares) // 2] + squares[len(squares) // 2 :]
    return squares[0], scale, values


X = np.float32(RNG.standard_normal((16, 300)) * np.exp2(RNG.integers(-6, 6, (16, 1))))
X[0, :128] = 0
X[1, :64] = np.round(X[1, :64] * 4) / 4


@pytest.mark.parametrize(
    ("name", "bits", "specials"),
    [
        ("bitmod-fp4", 4, (5, -5, 8, -8)),
        pytest.param("bitmod-fp3", 3, (3, -3, 6, -6), marks=pytest.mark.slow),
        pytest.param("bitmod-fp4-ea", 4, (8, -8), marks=pytest.mark.slow),
    ],
)
def test_selectors_scales_and_values_equal_the_reference(name, bits, specials):
    q = quantize(jnp.asarray(X), parse_scheme(name))
    selectors, scales, values = reference(X, bits, specials, 128)
    assert np.array_equal(q.arrays["selectors"].ravel(), selectors)
    assert np.array_equal(np.asarray(q.scales).ravel(), scales)
    assert np.array_equal(np.asarray(q.dequantize()), values)
    assert np.array_equal(np.asarray(fake_quantize(jnp.asarray(X), q.scheme)), values)
    assert len(set(selectors.tolist())) == len(specials)


@pytest.mark.slow
def test_results_are_the_same_however_they_are_run():
    scheme, x = parse_scheme("bitmod-fp3"), jnp.asarray(X)
    expected = np.asarray(fake_quantize(x, scheme))
    larger = jax.jit(lambda x: (fake_quantize(x * 1.0, scheme) + 0.0) * 1.0)
    mapped = jax.vmap(lambda row: fake_quantize(row[None], scheme)[0])
    for found in (larger(x), mapped(x)):
        assert np.array_equal(np.asarray(found), expected)
    with jax.disable_jit():
        assert np.array_equal(fake_quantize(x[:1, :128], scheme), expected[:1, :128])


def test_a_group_with_nan_or_infinity_is_poisoned():
    x = X.copy()
    x[2, 5], x[3, 200] = np.nan, -np.inf
    q = quantize(jnp.asarray(x), parse_scheme("bitmod-fp4"))
    values = np.asarray(q.dequantize())
    bad = np.zeros(x.shape, bool)
    bad[2, :128] = bad[3, 128:256] = True
    assert np.array_equal(np.isnan(values), bad)
    assert not np.asarray(q.codes)[bad].any()
    assert np.array_equal(np.isnan(np.asarray(fake_quantize(jnp.asarray(x), q.scheme))), bad)


def test_every_code_of_a_candidate_comes_back():
    for special in (5.0, -5.0, 8.0, -8.0):
        fmt = SpecialValueFormat(base=E2M1, special=special)
        assert [fmt.encode(fmt.decode(code)) for code in range(16)] == list(range(16))
        assert fmt.values[8] == special and fmt.max_integer == max(12, 2 * abs(special))


def test_storage_counts_selectors():
    scheme = parse_scheme("bitmod-fp3")
    assert scheme.bits_per_weight((4, 256)) == 3 + 18 / 128
    assert parse_scheme("bitmod-fp3:g64").name == "bitmod-fp3:g64"
    with pytest.raises(
        ValueError, match=r"^'asym' in 'bitmod-fp3:asym' is not a group, such as g64$"
    ):
        parse_scheme("bitmod-fp3:asym")
