"""Fast Hadamard transforms: of weights in float64, of activations in exactly defined float32.

The orthogonal transform of order ``n = K * 2^p`` maps a row ``x`` to ``hadamard(n) @ x / sqrt(n)``
in three steps. Element ``i = K * s + k`` of a row has Sylvester index ``s`` and Paley index ``k``.

1. ``p`` stages of butterflies over the Sylvester index, stride 1 first: a stage of stride ``d``
   replaces the elements ``a`` at ``s`` and ``b`` at ``s + d`` by ``a + b`` and ``a - b``.
2. For each ``s``, the K x K Paley matrix, in float32 as a sum of terms in ascending ``k``.
3. One product with ``1 / sqrt(n)``, rounded to the type of ``x``.

All entries of the matrices are 1 and -1, so every product in steps 1 and 2 is exact and float32
results do not depend on whether a compiler fuses products and additions. Rows longer than the order
are transformed in consecutive blocks.

Source: the order of steps is qsim's own; the factorisation is that of QuaRot (arXiv:2404.00456).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Float64

from numerics.solvers.hadamard import factor_size, paley


def fast_hadamard(x: Float64[np.ndarray, "*rows n"], size: int) -> Float64[np.ndarray, "*rows n"]:
    """Return rows transformed in blocks of ``size``, in float64 (step 2 as a matrix product)."""
    blocks = _butterflies(x, size)
    order = blocks.shape[-1]
    if order > 1:
        blocks = blocks @ paley(order).T.astype(np.float64)
    result: Float64[np.ndarray, "*rows n"] = (blocks * _factor(size)).reshape(x.shape)
    return result


def online_hadamard(x: Float32[Array, "*rows n"], size: int) -> Float32[Array, "*rows n"]:
    """Return rows transformed in blocks of ``size``, in float32, every rounding as defined above.

    ``size`` is static under ``jax.jit``.
    """
    blocks = _butterflies(x, size)
    if blocks.shape[-1] > 1:
        blocks = _paley_sums(blocks)
    result: Array = (blocks * jnp.float32(_factor(size))).reshape(x.shape)
    return result


def _butterflies(x: Any, size: int) -> Any:
    """Return step 1 as (blocks * 2^p, K), for arrays of NumPy and of JAX."""
    arrays = np if isinstance(x, np.ndarray) else jnp
    order, power = factor_size(size)
    stride = order
    for _ in range(power.bit_length() - 1):
        pairs = x.reshape(-1, 2, stride)
        x = arrays.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1)
        stride *= 2
    return x.reshape(-1, order)


def _paley_sums(blocks: Float32[Array, "n k"]) -> Float32[Array, "n k"]:
    """Return step 2: ``blocks @ paley(k).T``, terms added in ascending order."""
    columns = jnp.asarray(paley(blocks.shape[-1]).T, jnp.float32)
    values = blocks.T

    def add(total: Array, term: tuple[Array, Array]) -> tuple[Array, None]:
        value, column = term
        return total + column[:, None] * value, None

    first = columns[0][:, None] * values[0]
    return jax.lax.scan(add, first, (values[1:], columns[1:]))[0].T


def _factor(size: int) -> float:
    return 1 / math.sqrt(size)
