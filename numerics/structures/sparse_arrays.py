"""Array code of N:M sparsity."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float32, Shaped

from numerics.arithmetic.division import fence, float_bits
from numerics.arithmetic.float32 import MAGNITUDE_MASK
from numerics.schemes.tensor import QuantizedTensor
from numerics.structures.sparse import Sparse


def keep_mask(x: Float32[Array, "*shape"], scheme: Sparse) -> Bool[Array, "*shape"]:
    """Whether a number is among the ``keep`` largest magnitudes of its block, the first on ties."""
    keys = _blocks(float_bits(x) & MAGNITUDE_MASK, scheme.block, 0)
    before = jnp.zeros(keys.shape, jnp.int32)
    for shift in range(1, scheme.block):
        other = jnp.roll(keys, shift, axis=-1)
        is_earlier = jnp.arange(scheme.block) >= shift
        before += (other > keys) | (is_earlier & (other == keys))
    mask = before < scheme.keep
    return mask.reshape(*x.shape[:-1], -1)[..., : x.shape[-1]]


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: Sparse) -> QuantizedTensor:
    """Return codes and positions of the kept numbers, and scales."""
    mask = fence(keep_mask(x, scheme))
    dense = scheme.dense.quantize(jnp.where(mask, x, 0.0))
    blocks = _blocks(mask, scheme.block, 1)
    place = jnp.arange(scheme.block)
    count = jnp.cumsum(blocks, axis=-1)
    # In a padded block more than ``keep`` numbers may be marked; the first ones are stored.
    positions = jnp.stack(
        [
            jnp.sum(jnp.where(blocks & (count == number), place, 0), axis=-1)
            for number in range(1, scheme.keep + 1)
        ],
        axis=-1,
    )
    codes = jnp.take_along_axis(_blocks(dense.codes, scheme.block, 0), positions, axis=-1)
    fields = scheme.layout(x.shape)
    arrays = dict(dense.arrays) | {"codes": codes, "positions": positions.astype(jnp.uint8)}
    ordered = {field.name: arrays[field.name] for field in fields}
    return QuantizedTensor(arrays=ordered, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return the numbers of the codes at their positions, zeros elsewhere."""
    scheme = q.scheme
    assert isinstance(scheme, Sparse)
    positions = q.arrays["positions"].astype(jnp.int32)
    is_here = positions[..., None] == jnp.arange(scheme.block)
    codes = jnp.sum(jnp.where(is_here, q.codes[..., None], 0), axis=-2, dtype=q.codes.dtype)
    arrays = dict(q.arrays) | {"codes": _rows(codes, q.shape)}
    del arrays["positions"]
    dense = QuantizedTensor(arrays=arrays, scheme=scheme.dense, shape=q.shape)
    return _masked(dense.dequantize(), _rows(jnp.any(is_here, axis=-2), q.shape))


@partial(jax.jit, static_argnames="scheme")
def fake_quantize(x: Float32[Array, "*shape"], scheme: Sparse) -> Float32[Array, "*shape"]:
    """Return ``dequantize(quantize(x))``."""
    mask = fence(keep_mask(x, scheme))
    return _masked(scheme.dense.fake_quantize(jnp.where(mask, x, 0.0)), mask)


def _masked(
    values: Float32[Array, "*shape"], mask: Bool[Array, "*shape"]
) -> Float32[Array, "*shape"]:
    """Return the numbers that are kept or not finite, zeros elsewhere."""
    return jnp.where(mask | jnp.isnan(values), values, 0.0)


def _blocks(x: Shaped[Array, "*shape"], block: int, fill: int) -> Shaped[Array, "*lead blocks b"]:
    """Return the blocks of rows, the last one padded with ``fill``."""
    widths = [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[-1] % block)]
    return jnp.pad(x, widths, constant_values=fill).reshape(*x.shape[:-1], -1, block)


def _rows(blocks: Shaped[Array, "*lead blocks b"], shape: tuple[int, ...]) -> Array:
    return blocks.reshape(*shape[:-1], -1)[..., : shape[-1]]
