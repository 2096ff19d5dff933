import jax.numpy as jnp
import numpy as np

from sim.model.norm import layer_norm, rms_norm

X = np.random.default_rng(3).normal(2.0, 3.0, (4, 50))
WEIGHT, BIAS = np.random.default_rng(4).standard_normal((2, 50))


def float32(*arrays):
    return [jnp.asarray(a, jnp.float32) for a in arrays]


def test_rms_norm_is_its_formula():
    expected = X / np.sqrt((X**2).mean(-1, keepdims=True) + 0.1) * WEIGHT
    np.testing.assert_allclose(rms_norm(*float32(X, WEIGHT), eps=0.1), expected, rtol=1e-6)


def test_layer_norm_is_its_formula():
    centred = X - X.mean(-1, keepdims=True)
    expected = centred / np.sqrt(X.var(-1, keepdims=True) + 0.1) * WEIGHT + BIAS
    got = layer_norm(*float32(X, WEIGHT, BIAS), eps=0.1)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_layer_norm_of_a_large_mean_keeps_its_accuracy():
    # The variance as E[x^2] - E[x]^2 would lose all bits here.
    x, weight, bias = float32(X + 4096.0, WEIGHT, BIAS)
    exact = np.asarray(x, np.float64)
    centred = exact - exact.mean(-1, keepdims=True)
    expected = centred / np.sqrt(exact.var(-1, keepdims=True)) * WEIGHT + BIAS
    np.testing.assert_allclose(layer_norm(x, weight, bias, eps=0.0), expected, atol=1e-3)
