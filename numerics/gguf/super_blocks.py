"""Quantizers of the K types and of IQ4 as arrays: the twin of ``search_reference``.

A block is divided into groups, each of which is searched for a scale and perhaps a minimum
(``searches``). The scales become integers times ``d``, which is stored in FP16, and the codes are
chosen again for the stored numbers. Groups whose stored scale is zero keep the codes of the search,
as in ggml's files.
"""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float32, Int32

from numerics.arithmetic.division import (
    divide,
    divide_by_power_of_two,
    float_bits,
)
from numerics.arithmetic.float32 import (
    BIAS,
    INFINITY_BITS,
    MAGNITUDE_MASK,
    MANTISSA_BITS,
    MANTISSA_MASK,
)
from numerics.gguf.affine_search import root_mean_square_weights, search_affine
from numerics.gguf.block_type import BlockType, Rule
from numerics.gguf.encoded import Encoded, PerBlock, Values, round_to_half
from numerics.gguf.searches import (
    Columns,
    Found,
    code_near,
    search_levels,
    search_refined,
    search_symmetric,
)

Groups = Float32[Array, "*lead groups values"]
PerGroup = Float32[Array, "*lead groups"]

#: Groups searched at once; the sums of their candidates fit a core's cache.
CHUNK = 512
#: Least magnitude of a group, and of a scale of Q6_K, that is not treated as zero; ggml's
#: GROUP_MAX_EPS.
LEAST_MAGNITUDE = np.float32(1e-15)
#: Addend that leaves the nearest integer of a float32 number below 2^22 in the low bits.
NEAREST_MAGIC = np.float32(12582912.0)
NEAREST_OFFSET = 0x40_0000


def encode(block_type: BlockType, x: Values) -> Encoded:
    """Return codes, factors, d and m of blocks; d is NaN in blocks that are not finite."""
    groups = x.reshape(*x.shape[:-1], block_type.groups, block_type.values // block_type.groups)
    encoded = ENCODERS[block_type.rule](block_type, groups)
    is_bad = jnp.any((float_bits(x) & MAGNITUDE_MASK) >= INFINITY_BITS, axis=-1)
    codes = jnp.where(is_bad[..., None], 0, encoded.codes.reshape(x.shape).astype(jnp.uint8))
    return encoded._replace(
        codes=codes,
        d=jnp.where(is_bad, jnp.nan, encoded.d),
        m=None if encoded.m is None else jnp.where(is_bad, jnp.nan, encoded.m),
        d_factors=_cleared(encoded.d_factors, is_bad),
        m_factors=_cleared(encoded.m_factors, is_bad),
    )


def _cleared(factors: PerGroup | None, is_bad: Array) -> PerGroup | None:
    return None if factors is None else jnp.where(is_bad[..., None], 0, factors)


def _affine(block_type: BlockType, x: Groups) -> Encoded:
    assert block_type.candidates is not None
    first, steps = block_type.candidates
    last, by_square = len(block_type.levels) - 1, block_type.rule is Rule.AFFINE_SQUARE

    def search(columns: Columns) -> Found:
        weights = root_mean_square_weights(columns) if by_square else jnp.abs(columns)
        return search_affine(
            columns, weights, last=last, first=first, steps=steps, by_square=by_square
        )

    scale, codes, minimum = _searched(search, x)
    assert codes is not None and minimum is not None
    (d, d_factors), (m, m_factors) = (_shared(block_type, part) for part in (scale, minimum))
    step = (round_to_half(d)[..., None] * d_factors)[..., None]
    raised = x + (round_to_half(m)[..., None] * m_factors)[..., None]
    chosen = jnp.clip(_nearest(divide(raised, step)), 0, last)
    return Encoded(jnp.where(step == 0, codes, chosen), d, m, d_factors, m_factors)


def _shared(block_type: BlockType, scales: PerGroup) -> tuple[PerBlock, PerGroup]:
    """Return d and factors of a block whose scales are not negative."""
    assert block_type.d_factors is not None
    largest = block_type.d_factors.range[1]
    top = jnp.maximum(jnp.max(scales, axis=-1), 0)
    inverse = jnp.where(top > 0, jnp.full_like(top, largest) / top, 0)
    # A scale just below zero wraps around, as in ggml's unsigned byte.
    factors = jnp.minimum(_nearest(inverse[..., None] * scales) & 0xFF, largest)
    return divide(top, float(largest)), factors.astype(jnp.float32)


def _symmetric(block_type: BlockType, x: Groups) -> Encoded:
    is_refined = block_type.rule is Rule.REFINED
    search = search_refined if is_refined else search_symmetric
    half = -block_type.levels[0]
    scale, codes, _ = _searched(lambda columns: search(columns, half=half), x)
    assert codes is not None
    extreme = _extreme(scale)
    has_scale = extreme != 0 if is_refined else jnp.abs(extreme) >= LEAST_MAGNITUDE
    d, factors = _signed_factors(block_type, scale, extreme, has_scale)
    step = (round_to_half(d)[..., None] * factors)[..., None]
    chosen = jnp.clip(_nearest(divide(x, step)), -half, half - 1) + half
    codes = jnp.where(step == 0, codes, chosen)
    return Encoded(
        codes if is_refined else jnp.where(has_scale[..., None, None], codes, 0),
        d,
        d_factors=factors,
    )


def _signed_factors(
    block_type: BlockType, scale: PerGroup, extreme: PerBlock, has_scale: Array
) -> tuple[PerBlock, PerGroup]:
    """Return d and factors, the lowest for the extreme scale; zero bits without a scale."""
    assert block_type.d_factors is not None
    low, high = block_type.d_factors.range
    inverse = jnp.where(has_scale, jnp.full_like(extreme, low) / extreme, 0)
    factors = jnp.clip(_nearest(inverse[..., None] * scale), low, high)
    factors = jnp.where(has_scale[..., None], factors, block_type.d_factors.value(0))
    d = jnp.where(has_scale, jnp.ones_like(inverse) / inverse, 0)
    return d, factors.astype(jnp.float32)


def _levels(block_type: BlockType, x: Groups) -> Encoded:
    scale = _searched(lambda columns: search_levels(columns, block_type.levels), x).scale
    if block_type.d_factors is None:
        return Encoded(_level_codes(block_type, x, scale), scale[..., 0])
    low, high = block_type.d_factors.range
    d = _extreme(scale) * np.float32(1 / low)
    factors = jnp.clip(_nearest(_inverse(d)[..., None] * scale), low, high).astype(jnp.float32)
    return Encoded(_level_codes(block_type, x, d[..., None] * factors), d, d_factors=factors)


def _level_codes(block_type: BlockType, x: Groups, step: PerGroup) -> Groups:
    return code_near(_inverse(step)[..., None] * x, block_type.levels)


def _inverse(numbers: Array) -> Array:
    return jnp.where(numbers != 0, jnp.ones_like(numbers) / numbers, 0)


ENCODERS: dict[Rule, Callable[[BlockType, Groups], Encoded]] = {
    Rule.AFFINE_MAGNITUDE: _affine,
    Rule.AFFINE_SQUARE: _affine,
    Rule.SYMMETRIC: _symmetric,
    Rule.REFINED: _symmetric,
    Rule.LEVELS: _levels,
}


def _extreme(scale: PerGroup) -> PerBlock:
    """Return the scale of largest magnitude in each block, the first on ties."""
    place = jnp.argmax(jnp.abs(scale), axis=-1)
    return jnp.take_along_axis(scale, place[..., None], axis=-1)[..., 0]


def _searched(search: Callable[[Columns], Found], x: Groups) -> Found:
    """Search all groups, scaled to magnitudes in [1, 2), in chunks; the last one is padded."""
    flat = x.reshape(-1, x.shape[-1])
    magnitudes = float_bits(flat) & MAGNITUDE_MASK
    exponent = (jnp.max(magnitudes, axis=-1) >> MANTISSA_BITS) - BIAS
    scaled = divide_by_power_of_two(flat, exponent[:, None])
    count = flat.shape[0]
    chunk = min(CHUNK, count)
    padded = jnp.pad(scaled, ((0, -count % chunk), (0, 0)))
    chunks = padded.reshape(-1, chunk, flat.shape[1]).swapaxes(1, 2)
    scale, codes, minimum = lax.map(search, chunks)
    # A group of zeros in GGUF's quantizers has scale 0, minimum 0 and code 0.
    is_zero = jnp.max(jnp.abs(flat), axis=-1) < LEAST_MAGNITUDE

    def unscaled(numbers: Array) -> PerGroup:
        original = divide_by_power_of_two(numbers.reshape(-1)[:count], -exponent)
        return original.reshape(x.shape[:-1])

    if minimum is None:
        scale = jnp.where(is_zero, 0, scale.reshape(-1)[:count])
    if codes is not None:
        codes = codes.swapaxes(1, 2).reshape(-1, flat.shape[1])[:count]
        codes = jnp.where(is_zero[:, None] & (minimum is None), 0, codes).reshape(x.shape)
    return Found(unscaled(scale), codes, None if minimum is None else unscaled(minimum))


def _nearest(x: Float32[Array, "*shape"]) -> Int32[Array, "*shape"]:
    """Return ggml's ``nearest_int``: half to even below 2^22, 0 for a NaN."""
    bits = float_bits(jnp.where(x != x, 0, x) + NEAREST_MAGIC)
    return (bits & MANTISSA_MASK) - NEAREST_OFFSET
