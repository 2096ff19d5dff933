import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics import fake_quantize, parse_scheme, quantize
from sim.model.linear import linear

RNG = np.random.default_rng(7)
X = jnp.asarray(RNG.standard_normal((5, 40)), jnp.float32)
Q, K = (jnp.asarray(RNG.standard_normal((n, 40)), jnp.float32) for n in (24, 8))
BIAS = jnp.asarray(RNG.standard_normal(32), jnp.float32)
WEIGHT = jnp.concatenate([Q, K])
INT8, INT4 = parse_scheme("int8:g32:fp32"), parse_scheme("int4:g32:fp32")


def test_without_a_scheme_it_is_a_matrix_product():
    expected = np.asarray(X, np.float64) @ np.asarray(WEIGHT, np.float64).T + np.asarray(BIAS)
    np.testing.assert_allclose(linear(X, WEIGHT, BIAS, None), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(
        linear(X, WEIGHT, None, None) + BIAS, linear(X, WEIGHT, BIAS, None)
    )


def test_a_scheme_rounds_the_input():
    rounded = linear(fake_quantize(X, INT8), WEIGHT, BIAS, None)
    np.testing.assert_array_equal(linear(X, WEIGHT, BIAS, INT8), rounded)
    assert not np.array_equal(rounded, linear(X, WEIGHT, BIAS, None))


@pytest.mark.parametrize("scheme", [INT8, parse_scheme("mxfp4")])
def test_bit_true_products_equal_simulated_ones_but_for_rounding(scheme):
    members = (quantize(Q, INT4), quantize(K, INT4))
    exact = linear(X, members, BIAS, scheme)
    simulated = linear(X, fake_quantize(WEIGHT, INT4), BIAS, scheme)
    # The simulated sums of 40 float32 products round where the exact integers don't.
    np.testing.assert_allclose(exact, simulated, atol=40 * 2.0**-24 * float(jnp.abs(exact).max()))


def test_float_activations_meet_dequantized_weights():
    members = (quantize(Q, INT4), quantize(K, INT4))
    expected = linear(X, fake_quantize(WEIGHT, INT4), BIAS, None)
    np.testing.assert_allclose(linear(X, members, BIAS, None), expected, rtol=1e-6, atol=1e-6)


def test_float_products_ask_for_all_bits():
    text = jax.jit(lambda: linear(X, WEIGHT, None, None)).lower().as_text()
    assert "precision = [HIGHEST, HIGHEST]" in text
