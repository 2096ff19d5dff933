"""Euclidean norms of rows, and FP16 scales proportional to them."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float16, Float32

from numerics.arithmetic.division import divide, fence, float_bits, multiply
from numerics.arithmetic.float32 import HIDDEN_BIT, MAGNITUDE_MASK
from numerics.formats import FP16
from numerics.schemes.scales import store_scale, tree_sum


def squared_norms(rows: Float32[Array, "*lead k"]) -> Float32[Array, "*lead"]:
    """Return sums of float32 squares, pairwise (:func:`numerics.schemes.scales.tree_sum`)."""
    magnitudes = jnp.abs(rows)
    return tree_sum(multiply(magnitudes, magnitudes))


def norm_scales(rows: Float32[Array, "rows k"], *, over: float) -> Float16[Array, " rows"]:
    """Return the norm of each row divided by ``over``, as FP16.

    A row of zeros and subnormal numbers has scale 0, so that it dequantizes to zeros; a row with a
    NaN or an infinity has scale NaN.

    Examples
    --------
    >>> norm_scales(jnp.float32([[3.0, 0.0, -4.0], [0.0, 0.0, 0.0]]), over=2.0).tolist()
    [2.5, 0.0]
    """
    amax_bits = jnp.max(float_bits(rows) & MAGNITUDE_MASK, axis=-1)
    norms = fence(jnp.sqrt(squared_norms(rows)))
    scales: Array = fence(store_scale(divide(norms, over), amax_bits, FP16))
    return jnp.where(amax_bits < HIDDEN_BIT, jnp.float16(0), scales)
