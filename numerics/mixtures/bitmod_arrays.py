"""Array code of BitMoD."""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float32, Int32, UInt8

from numerics.arithmetic.division import divide, fence, float_bits, from_bits, multiply, sign_bits
from numerics.arithmetic.float32 import MAGNITUDE_MASK
from numerics.formats import FP16
from numerics.mixtures.bitmod import BASES, BitMod
from numerics.mixtures.special_value import SpecialValueFormat
from numerics.schemes import grouping
from numerics.schemes.granularity import PerGroup
from numerics.schemes.scales import Groups, PerGroupFloat, store_scale, tree_sum
from numerics.schemes.tensor import QuantizedTensor


class Choice(NamedTuple):
    """Selector of each group, and its scale in the stored type and as float32."""

    selectors: Int32[Array, "*lead"]
    stored: Array
    scales: PerGroupFloat


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: BitMod) -> QuantizedTensor:
    """Return codes, scales and selectors."""
    codes, stored, selectors = [], [], []
    for block in grouping.split_groups(x, PerGroup(scheme.size)):
        choice = _choose(block, scheme)
        found = codes_of(block, choice.selectors, choice.scales, scheme)
        codes.append(jnp.where(jnp.isnan(choice.scales)[..., None], jnp.uint8(0), found))
        stored.append(choice.stored)
        selectors.append(choice.selectors.astype(jnp.uint8))
    groups = scheme.layout(x.shape)[1].shape
    arrays = {
        "codes": grouping.join_groups(codes, x.shape),
        "scales": grouping.join_scales(stored, groups),
        "selectors": grouping.join_scales(selectors, groups),
    }
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


def codes_of(
    x: Groups, selectors: Int32[Array, "*lead"], scales: PerGroupFloat, scheme: BitMod
) -> UInt8[Array, "*lead group"]:
    """Return the codes of groups, given the selectors and the scales."""
    normalized = divide(x, scales[..., None])
    sign_code = jnp.uint8(BASES[scheme.weight_bits].sign_code)
    is_special = _in_cell(normalized, selectors, scheme)
    return jnp.where(is_special, sign_code, _base_codes(normalized, scheme))


@partial(jax.jit, static_argnames="scheme")
def fake_quantize(x: Float32[Array, "*shape"], scheme: BitMod) -> Float32[Array, "*shape"]:
    """Return ``dequantize(quantize(x))``."""
    rounded = []
    for block in grouping.split_groups(x, PerGroup(scheme.size)):
        choice = _choose(block, scheme)
        normalized = divide(block, choice.scales[..., None])
        base = _base_values(normalized, scheme)
        special = _of_candidate([f.special for f in scheme.formats], choice.selectors)
        values = jnp.where(_in_cell(normalized, choice.selectors, scheme), special[..., None], base)
        rounded.append(_restore(values, choice.scales))
    return grouping.join_groups(rounded, x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``value(code) * scale``."""
    scheme = q.scheme
    assert isinstance(scheme, BitMod)
    blocks = grouping.split_groups(q.codes, PerGroup(scheme.size))
    scales = grouping.split_scales(q.scales.astype(jnp.float32), blocks)
    selectors = grouping.split_scales(q.arrays["selectors"], blocks)
    tables = jnp.asarray(np.array([fmt.values for fmt in scheme.formats], np.float32))
    restored = [
        _restore(tables[chosen[..., None], codes], scale)
        for codes, scale, chosen in zip(blocks, scales, selectors, strict=True)
    ]
    return grouping.join_groups(restored, q.codes.shape)


def _choose(x: Groups, scheme: BitMod) -> Choice:
    """Return the candidate of least squared error for each group, the first on ties."""
    amax_bits = jnp.max(float_bits(x) & MAGNITUDE_MASK, axis=-1)
    stored = {
        largest: fence(store_scale(divide(from_bits(amax_bits), largest), amax_bits, FP16))
        for largest in dict.fromkeys(fmt.largest for fmt in scheme.formats)
    }
    errors: dict[SpecialValueFormat, PerGroupFloat] = {}
    for largest, scales in stored.items():
        formats = [fmt for fmt in scheme.formats if fmt.largest == largest]
        found = _squared_errors(x, formats, scales.astype(jnp.float32), scheme)
        errors |= dict(zip(formats, found, strict=True))
    ordered = jnp.stack([errors[fmt] for fmt in scheme.formats])
    selectors = fence(jnp.argmin(ordered, axis=0).astype(jnp.int32))
    candidates = jnp.stack([stored[fmt.largest] for fmt in scheme.formats])
    chosen = jnp.take_along_axis(candidates, selectors[None], axis=0)[0]
    poisoned = jnp.isnan(stored[scheme.formats[0].largest].astype(jnp.float32))
    selectors = jnp.where(poisoned, 0, selectors)
    return Choice(selectors, chosen, fence(chosen.astype(jnp.float32)))


def _squared_errors(
    x: Groups, formats: list[SpecialValueFormat], scales: PerGroupFloat, scheme: BitMod
) -> list[PerGroupFloat]:
    """Return the squared errors of formats that have the same scales.

    One sum over the stacked formats lets XLA compute quotients and base values only once.
    """
    normalized = divide(x, scales[..., None])
    base = _base_values(normalized, scheme)
    squares = []
    for fmt in formats:
        above, up_to = (np.float32(end) for end in fmt.cell)
        is_special = (normalized > above) & (normalized <= up_to)
        values = jnp.where(is_special, np.float32(fmt.special), base)
        difference = jnp.abs(multiply(values, scales[..., None]) - x)
        squares.append(multiply(difference, difference))
    return list(tree_sum(jnp.stack(squares)))


def _restore(values: Groups, scales: PerGroupFloat) -> Groups:
    product = multiply(values, scales[..., None])
    return jnp.where(jnp.isnan(scales)[..., None], jnp.nan, product)


def _in_cell(
    x: Groups, selectors: Int32[Array, "*lead"], scheme: BitMod
) -> Bool[Array, "*lead group"]:
    """Whether each number rounds to the special value of its group."""
    above, up_to = zip(*(fmt.cell for fmt in scheme.formats), strict=True)
    is_above = x > _of_candidate(list(above), selectors)[..., None]
    return is_above & (x <= _of_candidate(list(up_to), selectors)[..., None])


def _of_candidate(numbers: list[float], selectors: Int32[Array, "*lead"]) -> PerGroupFloat:
    table: Array = jnp.asarray(np.array(numbers, np.float32))
    return table[selectors]


def _base_values(x: Groups, scheme: BitMod) -> Groups:
    """Return the nearest value of the base format, ties to the lower value; zeros are positive."""
    magnitudes = _magnitudes(scheme)
    ordered, value = _ordered_magnitudes(x), jnp.zeros(x.shape, jnp.float32)
    for threshold, upper in zip(_threshold_bits(scheme), magnitudes[1:], strict=True):
        value = jnp.where(ordered > threshold, np.float32(upper), value)
    return from_bits(float_bits(value) | jnp.where(value > 0, sign_bits(x), 0))


def _base_codes(x: Groups, scheme: BitMod) -> UInt8[Array, "*lead group"]:
    """Return the sign-magnitude codes of :func:`_base_values`."""
    ordered = _ordered_magnitudes(x)
    codes = sum((ordered > threshold).astype(jnp.int32) for threshold in _threshold_bits(scheme))
    sign = jnp.where((sign_bits(x) != 0) & (codes > 0), BASES[scheme.weight_bits].sign_code, 0)
    return (codes | sign).astype(jnp.uint8)


def _ordered_magnitudes(x: Groups) -> Int32[Array, "*lead group"]:
    """Return float magnitudes as integers, plus 1 for negative numbers, whose ties go outwards."""
    bits = float_bits(x)
    return (bits & MAGNITUDE_MASK) + lax.shift_right_logical(bits, 31)


def _magnitudes(scheme: BitMod) -> tuple[float, ...]:
    base = BASES[scheme.weight_bits]
    return base.values[: base.sign_code]


def _threshold_bits(scheme: BitMod) -> list[int]:
    """Return the float32 bits of the midpoints between magnitudes."""
    middles = [(low + high) / 2 for low, high in pairwise(_magnitudes(scheme))]
    return [int(bits) for bits in np.array(middles, np.float32).view(np.int32)]
