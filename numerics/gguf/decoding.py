"""Values of blocks as arrays."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float32, UInt8

from numerics.arithmetic.division import from_bits, multiply_by_power_of_two
from numerics.arithmetic.float32 import MANTISSA_BITS
from numerics.gguf.block_type import BlockType, Factors, Rule
from numerics.gguf.block_types import TWOS_COMPLEMENT
from numerics.gguf.unpacking import read_codes, read_factors, read_half

#: Exponent bias of ``d`` under Rule.POWER, ``2**(byte - 128)``; ``d`` is normal from byte 2 on.
E8M0_HALF_BIAS = 128
FIRST_NORMAL = 2


def decode(
    block_type: BlockType, blocks: UInt8[Array, "*lead bytes"]
) -> Float32[Array, "*lead values"]:
    """Return the values of blocks; products are exact, so that contraction changes nothing."""
    codes = read_codes(block_type, blocks)
    if block_type.rule is Rule.POWER:
        return values_by_power(block_type, codes, blocks[..., block_type.d_at])
    d = _scales(blocks, block_type.d_at, block_type.d_factors)
    if block_type.m_at is None:
        return values_of(block_type, codes, d, None)
    m = _scales(blocks, block_type.m_at, block_type.m_factors)
    return values_of(block_type, codes, d, m if block_type.m_factors is None else -m)


def values_of(
    block_type: BlockType,
    codes: UInt8[Array, "*lead values"],
    d: Float32[Array, "*lead _"],
    m: Float32[Array, "*lead _"] | None,
) -> Float32[Array, "*lead values"]:
    """Return ``d * level + m``, with one d and one m for each of the equal groups of a block."""
    products = _each(levels_of(block_type, codes), d, jnp.multiply)
    return products if m is None else _each(products, m, jnp.add)


def values_by_power(
    block_type: BlockType, codes: UInt8[Array, "*lead values"], scales: UInt8[Array, "*lead"]
) -> Float32[Array, "*lead values"]:
    """Return ``2**(scale - 128) * level``; infinite on float32 overflow."""
    levels, scale = levels_of(block_type, codes), scales.astype(jnp.int32)[..., None]
    normal = from_bits((jnp.maximum(scale, FIRST_NORMAL) - 1) << MANTISSA_BITS)
    subnormal = multiply_by_power_of_two(levels, jnp.minimum(scale, 1) - E8M0_HALF_BIAS)
    return jnp.where(scale < FIRST_NORMAL, subnormal, levels * normal)


def levels_of(
    block_type: BlockType, codes: UInt8[Array, "*lead values"]
) -> Float32[Array, "*lead values"]:
    """Return the levels of codes."""
    levels = block_type.levels
    if levels == TWOS_COMPLEMENT:
        return lax.bitcast_convert_type(codes, jnp.int8).astype(jnp.float32)
    if levels == tuple(range(levels[0], levels[0] + len(levels))):
        return (codes.astype(jnp.int32) + levels[0]).astype(jnp.float32)
    table: Array = jnp.asarray(np.array(levels, np.float32))
    return table[codes]


def _scales(
    blocks: UInt8[Array, "*lead bytes"], offset: int, factors: Factors | None
) -> Float32[Array, "*lead _"]:
    half = read_half(blocks, offset)[..., None]
    return half if factors is None else half * read_factors(factors, blocks)


def _each(
    x: Float32[Array, "*lead values"],
    numbers: Float32[Array, "*lead groups"],
    function: Callable[[Array, Array], Array],
) -> Float32[Array, "*lead values"]:
    grouped = x.reshape(*numbers.shape, x.shape[-1] // numbers.shape[-1])
    return function(grouped, numbers[..., None]).reshape(x.shape)
