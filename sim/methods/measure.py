"""Rounding to nearest and the signal to quantization-noise ratio of a matrix."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32

from numerics import Scheme, fake_quantize


@partial(jax.jit, static_argnames="scheme")
def quantize_and_measure(
    matrix: Float32[Array, "out in"], *, scheme: Scheme
) -> tuple[Float32[Array, "out in"], Float32[Array, ""], Float32[Array, ""]]:
    """Return the fake-quantized matrix, its signal power and its error power (sums of squares)."""
    rounded = fake_quantize(matrix, scheme)
    return rounded, *_powers(matrix, rounded)


@jax.jit
def powers(
    matrix: Float32[Array, "out in"], rounded: Float32[Array, "out in"]
) -> tuple[Float32[Array, ""], Float32[Array, ""]]:
    """Return the signal power of a matrix and the error power of its rounded values."""
    return _powers(matrix, rounded)


def _powers(matrix: Array, rounded: Array) -> tuple[Array, Array]:
    error = rounded - matrix
    return jnp.sum(jnp.square(matrix)), jnp.sum(error * error)


def sqnr_db(signal: float, noise: float) -> float | None:
    """Return the signal to quantization-noise ratio in decibels; ``None`` without noise."""
    return 10.0 * math.log10(signal / noise) if noise > 0 else None
