"""Arithmetic that the compiler must not change, compared with numpy in every bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from numerics.arithmetic.division import (
    divide,
    divide_by_power_of_two,
    multiply,
    multiply_by_power_of_two,
    ordered_bits,
)

RNG = np.random.default_rng(5)
X = (RNG.standard_normal((256, 128)) * 2.0 ** RNG.integers(-9, 9, (256, 128))).astype(np.float32)
SCALES = np.float32(RNG.uniform(0.5, 2, (256, 1)))


def assert_same(actual, expected) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected, np.float32)
    wrong = actual.view(np.uint32) != expected.view(np.uint32)
    assert not wrong.any(), f"{wrong.sum()} of {wrong.size} differ"


def test_division_by_a_broadcast_scale_is_exact():
    assert_same(jax.jit(divide)(X, SCALES), X / SCALES)


@pytest.mark.parametrize("scale", [7.0, 6.0, 448.0, 127.0, 3.1])
def test_division_by_a_constant_is_exact(scale):
    assert_same(jax.jit(lambda x: divide(x, scale))(X), X / np.float32(scale))


def test_division_by_a_scale_computed_beside_it_is_exact():
    def normalized(x):
        return divide(x, divide(jnp.max(jnp.abs(x), axis=1, keepdims=True), 7.0))

    assert_same(jax.jit(normalized)(X), X / (np.abs(X).max(axis=1, keepdims=True) / np.float32(7)))


def test_division_keeps_nan_and_zeros():
    quotients = divide(jnp.float32([np.nan, 0.0, -0.0, np.inf]), 3.0)
    assert np.isnan(quotients[0]) and quotients[3] == np.inf
    assert np.signbit(quotients[1:3]).tolist() == [False, True]


def test_eager_compiled_and_mapped_divisions_are_identical():
    with jax.disable_jit():
        eager = divide(jnp.asarray(X), jnp.asarray(SCALES))
    assert_same(eager, X / SCALES)
    assert_same(jax.vmap(divide)(jnp.asarray(X), jnp.asarray(SCALES)), X / SCALES)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_product_is_rounded_before_it_is_added_to(sign):
    other = np.float32(RNG.standard_normal(X.shape))
    added = jax.jit(lambda x, s, o: multiply(x, s) + sign * o)(X, SCALES, other)
    assert_same(added, X * SCALES + np.float32(sign) * other)
    assert_same(jax.jit(lambda x, s: multiply(x, s) + 1.0)(X, SCALES), X * SCALES + np.float32(1))


def test_a_product_of_codes_is_rounded_before_it_is_added_to():
    codes = RNG.integers(0, 256, X.shape).astype(np.uint8)

    def add(codes, scales, other):
        return multiply(codes.astype(jnp.float32), scales) + other

    expected = codes.astype(np.float32) * SCALES + X
    assert_same(jax.jit(add)(codes, SCALES, X), expected)


def powers() -> tuple[np.ndarray, np.ndarray]:
    """Numbers of every exponent, subnormal ones too, each with several powers of two."""
    bits = np.arange(0, 0x7F800000, 65_537 * 3).astype(np.int32)
    x = np.concatenate([bits.view(np.float32), np.float32([0, -0.0, 1e-45, -1e-45])])
    return x[:, None], np.arange(-127, 128, 5, dtype=np.int32)[None, :]


def test_division_by_powers_of_two_is_exact_from_subnormal_numbers_on():
    x, exponents = powers()
    exact = x.astype(np.float64) / 2.0**exponents
    fits = np.abs(exact) < 2.0**128
    expected = np.where(np.abs(exact) < 2.0**-126, np.copysign(0, x), exact)
    x = np.broadcast_to(x, exact.shape)
    actual = np.asarray(jax.jit(divide_by_power_of_two)(x, exponents))
    assert_same(actual[fits], expected[fits])


def test_multiplication_by_powers_of_two_is_exact_to_the_last_subnormal():
    values = np.float32([0, -0.0, 1, -1.5, 1.75, 127 / 64, 2.0**-9, 57344, -(2.0**-16), 448])
    exponents = np.arange(-127, 111, dtype=np.int32)[:, None]
    actual = jax.jit(multiply_by_power_of_two)(np.broadcast_to(values, (238, 10)), exponents)
    assert_same(actual, values.astype(np.float64) * 2.0**exponents)


def test_ordered_bits_are_in_the_order_of_the_numbers():
    x = np.float32([-np.inf, -1, -1e-45, -0.0, 0.0, 1e-45, 1, 3e38, np.inf, np.nan])
    assert (np.diff(np.asarray(ordered_bits(jnp.asarray(x))).astype(np.int64)) > 0).all()
