"""OliVe against its code's vector and its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, quantize
from numerics.mixtures import olive, olive_arrays
from numerics.mixtures.olive import Normal, Olive, search_row

ROW = [
    0.02,
    -0.01,
    0.015,
    0.9,
    -0.02,
    0.01,
    0.005,
    -0.012,
    0.018,
    -0.007,
    0.011,
    -0.016,
    0.003,
    0.009,
    -0.6,
    0.004,
]
RNG = np.random.default_rng(6)
X = np.float32(RNG.standard_t(2, (5, 21)) * np.float32([[1], [0.01], [1], [1], [50]]))
X[2], X[3] = 0, 0.5


@pytest.mark.parametrize(
    ("bits", "normal", "columns"),
    [
        (4, Normal.FLINT, 21),
        pytest.param(4, Normal.FLINT, 20, marks=pytest.mark.slow),
        pytest.param(3, Normal.FLINT, 21, marks=pytest.mark.slow),
        pytest.param(3, Normal.INT, 20, marks=pytest.mark.slow),
        pytest.param(4, Normal.INT, 21, marks=pytest.mark.slow),
        pytest.param(5, Normal.FLINT, 20, marks=pytest.mark.slow),
        pytest.param(5, Normal.INT, 21, marks=pytest.mark.slow),
    ],
)
def test_scales_and_values_equal_the_definition(bits, normal, columns, monkeypatch):
    few = olive.TRIALS[::16]
    for module in (olive, olive_arrays):
        monkeypatch.setattr(module, "TRIALS", few)
    jax.clear_caches()
    scheme, x = Olive(bits=bits, normal=normal), X[:, :columns]
    q = quantize(jnp.asarray(x), scheme)
    back = np.asarray(q.dequantize())
    for row in range(len(x)):
        scale, values = search_row(x[row].tolist(), scheme)
        assert np.asarray(q.scales)[row] == scale
        assert np.array_equal(back[row], np.float32(values) * scale)
    jax.clear_caches()


def test_the_first_alpha_and_victims_of_the_published_vector():
    row = [np.float32(x) for x in ROW]
    start = olive.first_alpha(row)
    x = np.float64(np.float32(ROW))
    assert start == pytest.approx(max(abs(x.mean() + s * 3 * x.std(ddof=1)) for s in (1, -1)))
    values = olive.round_pairs(row, np.float32(0.5954159498214722 / 32), Olive(bits=4))
    assert values[:5] == [2, 0, 0, 48, -2] and values[14:] == [-32, 0]


def test_integers_end_at_28_and_24_which_alpha_is_divided_by():
    four, three = (Olive(bits=bits, normal=Normal.INT) for bits in (4, 3))
    row = [np.float32(x) for x in (30, 37, 38, 5, -6, 26)]
    assert olive.round_pairs(row, np.float32(1), four) == [28, 28, 48, 0, -4, 28]
    assert olive.round_pairs([np.float32(43.9)] * 2, np.float32(1), three) == [24, 24]
    x = np.float32([[*range(-28, 32, 4)]])
    q = quantize(jnp.asarray(x), four)
    alpha = float(olive.first_alpha(list(x[0])))
    trials = np.float32([alpha * trial / 28 for trial in olive.TRIALS])
    assert min(abs(trials - float(q.scales[0]))) < 1e-5
    assert four.name == "olive4-int"


def test_five_bits_have_steps_of_two_or_of_a_half_and_fifteen_outliers():
    flint, whole = (Olive(bits=5, normal=kind) for kind in (Normal.FLINT, Normal.INT))
    # Doubled 5-bit flint values end at 64; outliers are floats above 32.
    assert [2 * m for m in flint.magnitudes] == [*range(9), 10, 12, 14, 16, 24, 32, 64]
    floats = [2**e * (4 + m) // 4 for e in range(5, 9) for m in range(4)]
    assert list(flint.table.table[-16:]) == floats
    row = [np.float32(x) for x in (0.3, 30.9, 33, 5, 36.1, 5, 5.4, 450)]
    assert olive.round_pairs(row, np.float32(1), flint) == [0.5, 32, 32, 5, 40, 0, 0, 448]
    row = [np.float32(x) for x in (1, 3, -1, 34, 36, 5, 0, 29)]
    assert olive.round_pairs(row, np.float32(1), whole) == [2, 4, 0, 30, 40, 0, 0, 30]
    x = X[:, :20] * np.float32(2)
    for scheme in (flint, whole):
        q = quantize(jnp.asarray(x), scheme)
        codes, scales = np.asarray(q.codes), np.asarray(q.scales)
        assert codes.max() < 32
        for row in range(len(x)):
            values = olive.round_pairs(list(x[row]), scales[row], scheme)
            assert np.array_equal(np.asarray(q.dequantize())[row], np.float32(values) * scales[row])


def test_vector_of_the_published_code():
    x = np.float32([[*ROW, *(-0.001 * i for i in range(1, 17))]])
    q = quantize(jnp.asarray(x), Olive(bits=4))
    codes, values = np.asarray(q.codes)[0], np.asarray(q.dequantize())[0]
    assert 32 * float(q.scales[0]) == pytest.approx(0.5954159498214722, rel=1e-7)
    assert ((values - x[0]) ** 2).mean() == pytest.approx(1.1271571565885097e-4, rel=1e-5)
    assert codes[[2, 3, 14]].tolist() == [8, 1, 15] and (codes == 8).sum() == 1
    assert values[2] == 0 and values[3] == 48 * np.asarray(q.scales)[0]


def test_results_are_the_same_however_they_are_run():
    scheme, x = Olive(bits=4), jnp.asarray(X)
    expected = np.asarray(fake_quantize(x, scheme))
    larger = jax.jit(lambda x: (fake_quantize(x * 1.0, scheme) + 0.0) * 1.0)
    mapped = jax.vmap(lambda row: fake_quantize(row[None], scheme)[0])
    for found in (larger(x), mapped(x)):
        assert np.array_equal(np.asarray(found), expected)


def test_a_row_with_nan_is_poisoned_and_bits_are_three_to_five():
    x = X.copy()
    x[0, 3], x[4, 20] = np.nan, np.inf
    q = quantize(jnp.asarray(x), Olive(bits=3))
    bad = np.isnan(np.asarray(q.dequantize()))
    assert bad[[0, 4]].all() and not bad[1:4].any() and not np.asarray(q.codes)[[0, 4]].any()
    with pytest.raises(ValueError, match="3 to 5 bits, not 8"):
        Olive(bits=8)
