"""Codes and scales of blocks as arrays, and back: the array twin of ``planes``."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float32, UInt8

from numerics.gguf.block_type import BlockType, Factors
from numerics.gguf.planes import PLACES, TRIT_CODES, Plane, Trits

Blocks = UInt8[Array, "*lead bytes"]


def read_codes(block_type: BlockType, blocks: Blocks) -> UInt8[Array, "*lead values"]:
    """Return the codes of blocks."""
    if isinstance(block_type.codes[0], Trits):
        parts = [_read_trits(part, blocks) for part in block_type.codes if isinstance(part, Trits)]
        return jnp.concatenate(parts, axis=-1)
    planes = [_read_plane(part, blocks) for part in block_type.codes if isinstance(part, Plane)]
    return planes[0] if len(planes) == 1 else planes[0] | planes[1]


def write_codes(block_type: BlockType, codes: UInt8[Array, "*lead values"]) -> dict[int, Array]:
    """Return the bytes of the codes of blocks, by the offset of the first."""
    return {
        part.offset: _write_plane(part, codes)
        if isinstance(part, Plane)
        else _write_trits(part, codes)
        for part in block_type.codes
    }


def read_factors(factors: Factors, blocks: Blocks) -> Float32[Array, "*lead factors"]:
    """Return the integers that multiply ``d`` or ``dmin``."""
    number = jnp.zeros((*blocks.shape[:-1], factors.count), jnp.int32)
    for plane in factors.planes:
        around = (plane.first, factors.count - plane.first - plane.count)
        padding = [(0, 0)] * (blocks.ndim - 1) + [around]
        number = number | jnp.pad(_read_plane(plane, blocks).astype(jnp.int32), padding)
    return ((number ^ factors.flip) - factors.minus).astype(jnp.float32)


def write_factors(
    factors: Factors, values: Float32[Array, "*lead factors"]
) -> Iterator[tuple[int, Blocks]]:
    """Yield bytes of the factors of blocks with their offsets; bytes of one offset are added."""
    numbers = ((values.astype(jnp.int32) + factors.minus) ^ factors.flip).astype(jnp.uint8)
    for plane in factors.planes:
        own = numbers[..., plane.first : plane.first + plane.count]
        yield plane.offset, _write_plane(plane, own)


def read_half(blocks: Blocks, offset: int) -> Float32[Array, "*lead"]:
    """Return the FP16 number at a byte of each block."""
    pair = blocks[..., offset : offset + 2]
    return lax.bitcast_convert_type(pair, jnp.float16).astype(jnp.float32)


def write_half(numbers: Float32[Array, "*lead"]) -> UInt8[Array, "*lead 2"]:
    """Return the bytes of numbers rounded to FP16, NaN without sign and payload."""
    half = numbers.astype(jnp.float16)
    half = jnp.where(jnp.isnan(half), jnp.float16(jnp.nan), half)
    return lax.bitcast_convert_type(half, jnp.uint8)


def _read_plane(plane: Plane, blocks: Blocks) -> UInt8[Array, "*lead codes"]:
    lead = blocks.shape[:-1]
    stored = blocks[..., plane.offset : plane.offset + plane.size]
    stored = stored.reshape(*lead, -1, 1, plane.stride)
    codes = (stored >> _shifts(plane)) & np.uint8((1 << plane.bits) - 1)
    return codes.reshape(*lead, plane.count) << np.uint8(plane.to)


def _write_plane(plane: Plane, codes: UInt8[Array, "*lead values"]) -> UInt8[Array, "*lead bytes"]:
    lead = codes.shape[:-1]
    bits = (codes >> np.uint8(plane.to)) & np.uint8((1 << plane.bits) - 1)
    placed = bits.reshape(*lead, -1, plane.per_byte, plane.stride) << _shifts(plane)
    return jnp.sum(placed, axis=-2, dtype=jnp.uint8).reshape(*lead, plane.size)


def _shifts(plane: Plane) -> UInt8[np.ndarray, "nth 1"]:
    places = plane.shift + plane.bits * np.arange(plane.per_byte)
    return places.astype(np.uint8)[:, None]


def _read_trits(trits: Trits, blocks: Blocks) -> UInt8[Array, "*lead codes"]:
    lead = blocks.shape[:-1]
    stored = blocks[..., trits.offset : trits.offset + trits.size]
    powers = np.array(PLACES[::-1][: trits.digits], np.uint8)[:, None]
    fractions = (stored[..., None, :] * powers).astype(jnp.uint16)
    return ((fractions * 3) >> 8).astype(jnp.uint8).reshape(*lead, trits.count)


def _write_trits(trits: Trits, codes: UInt8[Array, "*lead values"]) -> Blocks:
    own = codes[..., trits.first : trits.first + trits.count].astype(jnp.int32)
    places = np.array(PLACES[: trits.digits], np.int32)[:, None]
    digits = own.reshape(*codes.shape[:-1], trits.digits, trits.stride)
    number = jnp.sum(digits * places, axis=-2)
    return ((number * 256 + TRIT_CODES - 1) // TRIT_CODES).astype(jnp.uint8)
