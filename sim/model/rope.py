"""Rotary position embedding, half-split as in Hugging Face."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32

from sim.model.config import RopeConfig

#: Cosines and sines, each of shape (t, dim / 2).
RopeTables = tuple[Float32[Array, "t half"], Float32[Array, "t half"]]


def inverse_frequencies(rope: RopeConfig, tokens: int) -> Float32[np.ndarray, " half"]:
    """Return the angle by which a position turns each pair of values, for a window of ``tokens``.

    ``angle[i] = theta ** (-2 i / dim) / factor[i]``, computed in float64 and rounded once.
    """
    exponents = np.arange(0, rope.dim, 2, dtype=np.float64) / rope.dim
    angles = rope.theta**-exponents
    factors = rope.factors_for(tokens)
    if factors is not None:
        angles = angles / np.asarray(factors, np.float64)
    return angles.astype(np.float32)


def rope_tables(rope: RopeConfig, tokens: int) -> RopeTables:
    """Return cosines and sines of positions ``0 .. tokens - 1``, ``attention_factor`` included."""
    positions = jnp.arange(tokens, dtype=jnp.float32)
    angles = positions[:, None] * inverse_frequencies(rope, tokens)
    return jnp.cos(angles) * rope.attention_factor, jnp.sin(angles) * rope.attention_factor


def rotate(x: Float32[Array, "heads t size"], tables: RopeTables) -> Float32[Array, "heads t size"]:
    """Rotate the first ``dim`` values of each head; value ``i`` pairs with ``i + dim / 2``."""
    cos, sin = tables
    half = cos.shape[-1]
    first, second, passed = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin, passed], -1)
