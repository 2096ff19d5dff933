"""Low-rank parts against published values and numpy's singular values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, parse_scheme, quantize
from numerics.formats import E2M1, IntFormat
from numerics.structures import low_rank_arrays
from numerics.structures.low_rank import LowRank

RNG = np.random.default_rng(12)
X = RNG.standard_normal((24, 64)).astype(np.float32)
W = np.float32([[0.5, -0.25, 0.125, 1.0], [-1.5, 0.75, 0.3, -0.1], [0.02, 0.04, -0.06, 0.08]])
LORC = LowRank(element=IntFormat(name="int3", bits=3), rank=4, size=32)
LQ = LowRank(element=IntFormat(name="int3", bits=3), rank=4, rounds=4, size=32)


def product(factors):
    return np.float32(factors.left) @ np.float32(factors.right)


def test_the_published_factors_come_out():
    dense = np.asarray(fake_quantize(jnp.asarray(W), parse_scheme("fp4:g4:fp32")))
    error = W - dense
    singular = np.linalg.svd(error, compute_uv=False)
    assert singular == pytest.approx([0.06831627, 0.01544165, 0], abs=1e-6)
    found = product(low_rank_arrays.factorize(jnp.asarray(error), 1))
    expected = [[0, 0, -0.0380298, -0.0117605], [0, 0, 0.05269207, 0.01629472]]
    half = 2e-3  # Relative tolerance: factors are FP16 with 11 significant bits.
    assert found[:2] == pytest.approx(np.array(expected), rel=half, abs=1e-6)
    assert (dense + found)[0] == pytest.approx([0.5, -0.25, 0.12863687, 0.9882395], rel=1e-3)
    whole = product(low_rank_arrays.factorize(jnp.asarray(error), 2))
    assert dense + whole == pytest.approx(W, abs=1e-4)


def test_arrays_are_the_dense_ones_and_the_best_factors_of_their_error():
    q = quantize(jnp.asarray(X), LORC)
    dense = quantize(jnp.asarray(X), LORC.dense)
    for field in LORC.layout(X.shape):
        array = np.asarray(q.arrays[field.name])
        assert (array.shape, array.dtype) == (field.shape, field.dtype)
    assert np.array_equal(np.asarray(q.codes), np.asarray(dense.codes))
    assert np.array_equal(np.asarray(q.scales), np.asarray(dense.scales))
    error = X - np.asarray(dense.dequantize())
    left, values, right = np.linalg.svd(error, full_matrices=False)
    best = (left[:, :4] * values[:4]) @ right[:4]
    found = np.float32(q.arrays["left"]) @ np.float32(q.arrays["right"])
    assert found == pytest.approx(best, abs=2e-3 * float(np.abs(best).max()))
    values = np.asarray(q.dequantize())
    assert values == pytest.approx(np.asarray(dense.dequantize()) + found, abs=1e-6)


def errors(scheme):
    return float(np.mean((np.asarray(fake_quantize(jnp.asarray(X), scheme)) - X) ** 2))


def test_errors_sink_with_a_low_rank_and_with_rounds():
    dense, lorc, lq = errors(LORC.dense), errors(LORC), errors(LQ)
    assert lq < lorc < dense
    one = LowRank(element=LQ.element, rank=4, rounds=1, size=32)
    assert lq <= errors(one)


def test_the_first_round_quantizes_what_the_matrix_leaves():
    one = LowRank(element=LQ.element, rank=4, rounds=1, size=32)
    q = quantize(jnp.asarray(X), one)
    factors = low_rank_arrays.factorize(jnp.asarray(X), 4)
    found = np.float32(q.arrays["left"]) @ np.float32(q.arrays["right"])
    assert found == pytest.approx(product(factors), abs=1e-2)
    left, scales, right = np.linalg.svd(X, full_matrices=False)
    assert found == pytest.approx((left[:, :4] * scales[:4]) @ right[:4], abs=1e-2)


def test_results_are_nearly_the_same_under_vmap_and_leading_axes_are_rows():
    both = jnp.stack([jnp.asarray(X), jnp.asarray(X)]).reshape(2, 4, 6, 64)
    found = np.asarray(jax.jit(jax.vmap(LORC.fake_quantize))(both))[1].reshape(24, 64)
    assert found == pytest.approx(np.asarray(fake_quantize(jnp.asarray(X), LORC)), abs=1e-3)


@pytest.mark.parametrize("scheme", [LORC, LQ], ids=lambda scheme: scheme.name)
def test_a_group_with_nan_is_poisoned(scheme):
    x = X.copy()
    x[5, 40] = np.nan
    values = np.asarray(fake_quantize(jnp.asarray(x), scheme))
    expected = np.zeros(x.shape, bool)
    expected[5, 32:] = True
    assert np.array_equal(np.isnan(values), expected)


def test_names_storage_and_limits():
    scheme = LowRank(element=E2M1, rank=8)
    assert (scheme.name, LQ.name) == ("fp4_e2m1-lorc8", "int3-lq4x4:g32")
    assert scheme.bits_per_weight((512, 256)) == 4.125 + 16 * 8 * (512 + 256) / (512 * 256)
    assert LowRank(element=E2M1, rank=25).layout(X.shape)[-1].shape == (24, 64)
    with pytest.raises(ValueError, match=r"^a low-rank part has a rank of at least 1, not 0$"):
        LowRank(element=E2M1, rank=0)
    with pytest.raises(ValueError, match=r"^there are 0 to 20 rounds, not 21$"):
        LowRank(element=E2M1, rank=2, rounds=21)
