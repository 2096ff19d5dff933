"""Array code of additive codebooks."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float16, Float32, Int32

from numerics.arithmetic.division import divide, fence, multiply
from numerics.codebooks import lloyd_arrays
from numerics.codebooks.additive import DIMENSION, Additive
from numerics.codebooks.row_norm import norm_scales
from numerics.codebooks.search import nearest
from numerics.schemes.tensor import QuantizedTensor


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: Additive) -> QuantizedTensor:
    """Return the tensor as codes, codebooks and scales of rows."""
    vectors, scales = _normalized(x)
    code_field, table_field, _ = scheme.layout(x.shape)
    tables, codes, left = [], [], vectors
    for _ in range(scheme.codebooks):
        table = lloyd_arrays.train_on_some(left, 1 << scheme.code_bits)
        found = fence(nearest(left, table))
        left = lloyd_arrays.subtract(left, table, found)
        tables.append(lloyd_arrays.from_units(table))
        codes.append(found)
    shaped = jnp.stack(codes, axis=-1).reshape(code_field.shape)
    is_poisoned = jnp.isnan(scales)[..., None, None]
    arrays = {
        "codes": jnp.where(is_poisoned, 0, shaped).astype(code_field.dtype),
        "codebooks": jnp.stack(tables).astype(table_field.dtype),
        "scales": scales,
    }
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``(C_1[i_1] + C_2[i_2] + ...) * scale``."""
    codes, tables = q.codes.astype(jnp.int32), q.arrays["codebooks"].astype(jnp.float32)
    values = tables[0][codes[..., 0]]
    for number in range(1, codes.shape[-1]):
        values = values + tables[number][codes[..., number]]
    rows = values.reshape(*q.shape[:-1], -1)[..., : q.shape[-1]]
    scales = q.scales.astype(jnp.float32)[..., None]
    return jnp.where(jnp.isnan(scales), jnp.nan, multiply(rows, scales))


def _normalized(
    x: Float32[Array, "*shape"],
) -> tuple[Int32[Array, "n 8"], Float16[Array, "*rows"]]:
    """Return the vectors in units of 2^-10 (zeros in rows with NaN or infinity), and the scales."""
    rows = x.reshape(-1, x.shape[-1])
    scales = norm_scales(rows, over=math.sqrt(rows.shape[1]))
    units = lloyd_arrays.to_units(divide(rows, scales.astype(jnp.float32)[:, None]))
    padded = jnp.pad(units, ((0, 0), (0, -rows.shape[1] % DIMENSION)))
    return fence(padded.reshape(-1, DIMENSION)), scales.reshape(x.shape[:-1])
