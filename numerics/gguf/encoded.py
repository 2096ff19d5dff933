"""The result of a quantizer, and its conversion to bytes or values."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float32, UInt8

from numerics.gguf.block_type import BlockType, Rule
from numerics.gguf.decoding import values_by_power, values_of
from numerics.gguf.unpacking import write_codes, write_factors, write_half

Values = Float32[Array, "*lead values"]
Codes = UInt8[Array, "*lead values"]
PerBlock = Float32[Array, "*lead"]
Factors = Float32[Array, "*lead factors"]


class Encoded(NamedTuple):
    """Codes of blocks with d and m not yet rounded; under ``Rule.POWER`` d is its byte.

    With factors, ``m`` is the positive number to subtract.
    """

    codes: Codes
    d: Array
    m: PerBlock | None = None
    d_factors: Factors | None = None
    m_factors: Factors | None = None


def to_blocks(block_type: BlockType, encoded: Encoded) -> UInt8[Array, "*lead bytes"]:
    """Return the bytes of blocks."""
    parts = write_codes(block_type, encoded.codes)
    is_power = block_type.rule is Rule.POWER
    parts[block_type.d_at] = encoded.d[..., None] if is_power else write_half(encoded.d)
    if block_type.m_at is not None:
        assert encoded.m is not None
        parts[block_type.m_at] = write_half(encoded.m)
    for factors, numbers in (
        (block_type.d_factors, encoded.d_factors),
        (block_type.m_factors, encoded.m_factors),
    ):
        if factors is not None:
            assert numbers is not None
            for offset, stored in write_factors(factors, numbers):
                parts[offset] = parts[offset] | stored if offset in parts else stored
    return jnp.concatenate([parts[offset] for offset in sorted(parts)], axis=-1)


def to_values(block_type: BlockType, encoded: Encoded) -> Values:
    """Return the values that the bytes of blocks decode to."""
    if block_type.rule is Rule.POWER:
        return values_by_power(block_type, encoded.codes, encoded.d)
    d, m = _scales(encoded.d, encoded.d_factors), None
    if encoded.m is not None:
        m = _scales(encoded.m, encoded.m_factors)
        m = m if encoded.m_factors is None else -m
    return values_of(block_type, encoded.codes, d, m)


def round_to_half(numbers: PerBlock) -> PerBlock:
    """Return numbers rounded to FP16, as float32."""
    return numbers.astype(jnp.float16).astype(jnp.float32)


def _scales(numbers: PerBlock, factors: Factors | None) -> Float32[Array, "*lead _"]:
    half = round_to_half(numbers)[..., None]
    return half if factors is None else half * factors
