"""Array code of BitMoD in FP16: the twin of ``bitmod_half.quantize_row``.

FP16 numbers are held as float32 and rounded to FP16 after every operation. One operation rounded to
float32 and then to FP16 equals the FP16 operation, since float32 has more than twice the precision.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32, Int32

from numerics.arithmetic.cast import encode, round_element, round_to
from numerics.arithmetic.division import divide, fence, float_bits, multiply
from numerics.arithmetic.float32 import INFINITY_BITS, MAGNITUDE_MASK
from numerics.formats import FP16, TableFormat
from numerics.mixtures.bitmod_half import (
    LARGEST_SCALE,
    LEAST_SCALE,
    SCALES_OF_ROW,
    WORST_ERROR,
    BitModHalf,
    largest_units,
)
from numerics.mixtures.special_value import SpecialValueFormat
from numerics.schemes import grouping
from numerics.schemes.granularity import PerGroup
from numerics.schemes.scales import Groups, PerGroupFloat, tree_sum
from numerics.schemes.tensor import QuantizedTensor


class Trial(NamedTuple):
    """Result of one candidate: one number per group in each array but ``places``."""

    scales: Array
    scale_codes: Array
    of_row: Array
    #: Index of each weight in the table of values, one array per block.
    places: list[Array]
    errors: Array


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: BitModHalf) -> QuantizedTensor:
    """Return codes, scales and selectors."""
    blocks = grouping.split_groups(_half(x), PerGroup(scheme.size))
    layout = {field.name: field for field in scheme.layout(x.shape)}
    groups = layout["selectors"].shape
    is_bad = grouping.join_scales([_is_bad(block) for block in blocks], groups)
    if scheme.scale_bits:
        is_bad = jnp.broadcast_to(is_bad.any(-1, keepdims=True), groups)
    kept = [
        jnp.where(bad[..., None], 0, block)
        for block, bad in zip(blocks, grouping.split_scales(is_bad, blocks), strict=True)
    ]
    tried = [_try(kept, groups, fmt, scheme) for fmt in scheme.formats]
    errors = jnp.stack([found.errors for found in tried])
    best = fence(jnp.argmin(errors, axis=0).astype(jnp.int32))
    is_zero = jnp.min(errors, axis=0) >= np.float32(WORST_ERROR)
    selectors = jnp.where(is_zero, 0, best)
    tables = jnp.asarray(np.array([_codes_of_table(fmt) for fmt in scheme.formats], np.uint8))
    chosen = grouping.split_scales(selectors, blocks)
    nothing = grouping.split_scales(is_zero | is_bad, blocks)
    codes = []
    for index, (selector, is_none) in enumerate(zip(chosen, nothing, strict=True)):
        places = jnp.stack([found.places[index] for found in tried])
        place = jnp.take_along_axis(places, selector[None, ..., None], axis=0)[0]
        code = tables[selector[..., None], place.astype(jnp.int32)]
        codes.append(jnp.where(is_none[..., None], jnp.uint8(0), code))
    arrays = {
        "codes": grouping.join_groups(codes, x.shape),
        "selectors": selectors.astype(jnp.uint8),
    }
    if scheme.scale_bits:
        chosen_codes = _chosen([found.scale_codes for found in tried], selectors)
        arrays["scale_codes"] = chosen_codes.astype(jnp.uint8)
        of_rows = jnp.stack([found.of_row[..., 0] for found in tried[::2]], axis=-1)
        arrays["scales"] = jnp.where(is_bad[..., :1], jnp.nan, of_rows).astype(jnp.float16)
    else:
        scales = _chosen([found.scales for found in tried], selectors)
        arrays["scales"] = jnp.where(is_bad, jnp.nan, scales).astype(jnp.float16)
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``v * s``, or ``(v * c) * q``, in FP16."""
    scheme = q.scheme
    assert isinstance(scheme, BitModHalf)
    selectors = q.arrays["selectors"].astype(jnp.int32)
    scales = q.scales.astype(jnp.float32)
    quotients = jnp.ones(selectors.shape, jnp.float32)
    if scheme.scale_bits:
        scales = jnp.take_along_axis(scales, selectors // SCALES_OF_ROW, axis=-1)
        quotients = q.arrays["scale_codes"].astype(jnp.float32)
    blocks = grouping.split_groups(q.codes, PerGroup(scheme.size))
    parts = [grouping.split_scales(part, blocks) for part in (selectors, scales, quotients)]
    units = [np.array(fmt.values, np.float32) / np.float32(fmt.unit) for fmt in scheme.formats]
    tables, values = jnp.asarray(np.stack(units)), []
    for codes, selector, scale, quotient in zip(blocks, *parts, strict=True):
        number = tables[selector[..., None], codes]
        value = _restored(number, scale, quotient if scheme.scale_bits else None)
        values.append(jnp.where(jnp.isnan(scale)[..., None], jnp.nan, value))
    return grouping.join_groups(values, q.shape)


def _half(x: Float32[Array, "*shape"]) -> Float32[Array, "*shape"]:
    """Round to FP16, to infinity on overflow; the result is held as float32."""
    rounded: Array = fence(round_to(FP16, x, overflow="ieee"))
    return rounded


def _is_bad(block: Groups) -> Array:
    return jnp.max(float_bits(block) & MAGNITUDE_MASK, axis=-1) >= INFINITY_BITS


def _try(
    blocks: list[Array], groups: tuple[int, ...], fmt: SpecialValueFormat, scheme: BitModHalf
) -> Trial:
    """Return scales, table indices and errors of one candidate."""
    amax = grouping.join_scales([jnp.max(jnp.abs(block), axis=-1) for block in blocks], groups)
    raw = _half(divide(amax, largest_units(fmt)))
    scales = fence(jnp.clip(raw, np.float32(LEAST_SCALE), np.float32(LARGEST_SCALE)))
    of_row, quotients = scales, jnp.ones_like(scales)
    if scheme.scale_bits:
        top = (1 << scheme.scale_bits) - 1
        of_row = _half(divide(jnp.max(scales, axis=-1, keepdims=True), float(top)))
        of_row = jnp.broadcast_to(of_row, groups)
        quotients = jnp.clip(jnp.round(_half(divide(scales, of_row))), 0, top)
    table, places, errors = _table(fmt), [], []
    parts = [grouping.split_scales(part, blocks) for part in (scales, of_row, quotients)]
    for block, scale, row_scale, quotient in zip(blocks, *parts, strict=True):
        normalized = _half(divide(block, scale[..., None]))
        places.append(encode(table, normalized))
        numbers = round_element(table, normalized)
        back = _restored(numbers, row_scale, quotient if scheme.scale_bits else None)
        errors.append(_error(block, back))
    return Trial(scales, quotients, of_row, places, grouping.join_scales(errors, groups))


def _restored(
    numbers: Groups, scales: PerGroupFloat, quotients: PerGroupFloat | None
) -> Float32[Array, "*lead group"]:
    product = _half(multiply(numbers, scales[..., None]))
    return product if quotients is None else _half(multiply(product, quotients[..., None]))


def _error(block: Groups, back: Groups) -> PerGroupFloat:
    difference = jnp.abs(_half(back - block))
    squares = _half(multiply(difference, difference))
    mean: Array = _half(divide(tree_sum(squares), float(block.shape[-1])))
    return mean


def _chosen(of_candidates: list[Array], selectors: Int32[Array, "*groups"]) -> Array:
    stacked = jnp.stack(of_candidates)
    chosen: Array = jnp.take_along_axis(stacked, selectors[None], axis=0)[0]
    return chosen


def _table(fmt: SpecialValueFormat) -> TableFormat:
    """Return the table of values in the units of BitMoD's code, in increasing order."""
    return TableFormat(name=fmt.name, table=tuple(value / fmt.unit for value in fmt.grid))


def _codes_of_table(fmt: SpecialValueFormat) -> list[int]:
    """Return the code of each value of the table, padded to the number of codes."""
    codes = [fmt.encode(value) for value in fmt.grid]
    return codes + [0] * (2**fmt.bits - len(codes))
