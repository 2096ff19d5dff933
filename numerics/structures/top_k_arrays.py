"""Array code of top-K sparsity."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32

from numerics.arithmetic.division import fence, float_bits
from numerics.arithmetic.float32 import MAGNITUDE_MASK
from numerics.schemes.tensor import QuantizedTensor
from numerics.structures.top_k import TopK


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: TopK) -> QuantizedTensor:
    """Return the kept codes, marks and scales."""
    dense = scheme.dense.quantize(x)
    magnitudes = fence(float_bits(dense.dequantize()) & MAGNITUDE_MASK)
    _, found = lax.top_k(magnitudes, scheme.kept(x.shape[-1]))
    places = fence(jnp.sort(found, axis=-1))
    marks = jnp.put_along_axis(
        jnp.zeros(x.shape, jnp.uint8), places, jnp.uint8(1), axis=-1, inplace=False
    )
    codes = jnp.take_along_axis(dense.codes, places, axis=-1)
    arrays = {"codes": codes, "marks": marks, "scales": dense.scales}
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return the numbers of the kept codes at their marks, zeros elsewhere."""
    scheme = q.scheme
    assert isinstance(scheme, TopK)
    is_kept = q.arrays["marks"] == 1
    rank = jnp.cumsum(is_kept, axis=-1, dtype=jnp.int32) - 1
    codes = jnp.take_along_axis(q.codes, jnp.maximum(rank, 0), axis=-1)
    arrays = {"codes": codes, "scales": q.scales}
    values = QuantizedTensor(arrays=arrays, scheme=scheme.dense, shape=q.shape).dequantize()
    return jnp.where(is_kept | jnp.isnan(values), values, 0.0)
