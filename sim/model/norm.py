"""Normalisation of the residual stream and of query and key heads."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32


def rms_norm(
    x: Float32[Array, "*rows d"], weight: Float32[Array, " d"], *, eps: float
) -> Float32[Array, "*rows d"]:
    """``x / sqrt(mean(x**2) + eps) * weight`` (arXiv 1910.07467)."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def layer_norm(
    x: Float32[Array, "*rows d"],
    weight: Float32[Array, " d"],
    bias: Float32[Array, " d"],
    *,
    eps: float,
) -> Float32[Array, "*rows d"]:
    """``(x - mean) / sqrt(variance + eps) * weight + bias`` (arXiv 1607.06450)."""
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + eps) * weight + bias
