"""Array code of element schemes: codes and side data of whole tensors, and back."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float32, UInt8

from numerics.arithmetic.cast import decode, encode, round_element
from numerics.formats import FloatFormat, IntFormat
from numerics.schemes import grouping
from numerics.schemes.element import ElementScheme, ZeroPoint
from numerics.schemes.scales import (
    Groups,
    SecondLevel,
    SideData,
    find_side_data,
    find_tensor_scale,
    is_poisoned,
    normalize,
    restore,
)
from numerics.schemes.tensor import QuantizedTensor


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: ElementScheme) -> QuantizedTensor:
    """Return the codes of ``x`` and its side data."""
    tensor_scale = find_second_level(x, scheme)
    by_row = rows_of(tensor_scale)
    blocks = grouping.split_groups(x, scheme.granularity)
    sides = [find_side_data(block, scheme, by_row) for block in blocks]
    codes = [
        element_codes(block, side, scheme, by_row)
        for block, side in zip(blocks, sides, strict=True)
    ]
    shape = scheme.scale_shape(x.shape)
    side = jax.tree.map(lambda *parts: grouping.join_scales(list(parts), shape), *sides)
    arrays = {
        "codes": grouping.join_groups(codes, x.shape),
        "scales": side.scales,
        "zero_points": side.zero_points,
        "minimums": side.minimums,
        "tensor_scale": tensor_scale,
    }
    present = {name: array for name, array in arrays.items() if array is not None}
    return QuantizedTensor(arrays=present, scheme=scheme, shape=x.shape)


@partial(jax.jit, static_argnames="scheme")
def fake_quantize(x: Float32[Array, "*shape"], scheme: ElementScheme) -> Float32[Array, "*shape"]:
    """Return ``dequantize(quantize(x))`` without making the codes."""
    by_row = rows_of(find_second_level(x, scheme))
    rounded = []
    for block in grouping.split_groups(x, scheme.granularity):
        side = find_side_data(block, scheme, by_row)
        rounded.append(restored_values(block, side, scheme, by_row))
    return grouping.join_groups(rounded, x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``element(code) * scale``, with zero point or minimum where there is one."""
    scheme = element_scheme_of(q)
    restored = []
    for codes, side in split_quantized(q):
        values = decode(scheme.element, codes)
        if side.zero_points is not None:
            values = values - side.zero_points.astype(jnp.float32)[..., None]
        restored.append(restore(values, side, scheme, rows_of(q.tensor_scale)))
    return grouping.join_groups(restored, q.codes.shape)


def element_scheme_of(q: QuantizedTensor) -> ElementScheme:
    """Return the scheme of a tensor; raise :class:`ValueError` unless it is an element scheme."""
    if not isinstance(q.scheme, ElementScheme):
        raise ValueError(f"{q.scheme.name} is not a scheme of one element format with scales")
    return q.scheme


def split_quantized(
    q: QuantizedTensor,
) -> list[tuple[UInt8[Array, "rows _ _"], SideData]]:
    """Return codes and side data of the full groups and of the shorter last groups, if any."""
    blocks = grouping.split_groups(q.codes, element_scheme_of(q).granularity)
    side = SideData(scales=q.scales, zero_points=q.zero_points, minimums=q.minimums)
    leaves, structure = jax.tree.flatten(side)
    parts = zip(*(grouping.split_scales(leaf, blocks) for leaf in leaves), strict=True)
    sides = [jax.tree.unflatten(structure, part) for part in parts]
    return list(zip(blocks, sides, strict=True))


def rows_of(tensor_scale: Array | None) -> SecondLevel | None:
    """Return the second level of scales in a shape that broadcasts to (rows, groups)."""
    if tensor_scale is None or tensor_scale.ndim == 0:
        return tensor_scale
    return tensor_scale.reshape(-1, 1)


def find_second_level(x: Float32[Array, "*shape"], scheme: ElementScheme) -> SecondLevel | None:
    """Return the second level of scales, by which block scales are divided."""
    return None if scheme.second_level is None else find_tensor_scale(x, scheme)


def element_codes(
    x: Groups, side: SideData, scheme: ElementScheme, tensor_scale: SecondLevel | None
) -> UInt8[Array, "*lead group"]:
    """Return the codes of groups under the given side data."""
    normalized = normalize(x, side, scheme, tensor_scale)
    if scheme.zero_point is ZeroPoint.INTEGER:
        codes = _asymmetric_codes(normalized, side, scheme).astype(jnp.uint8)
    elif isinstance(scheme.element, FloatFormat):
        codes = encode(scheme.element, normalized, overflow="satfinite")
    else:
        codes = encode(scheme.element, normalized)
    return jnp.where(is_poisoned(side, scheme, tensor_scale)[..., None], jnp.uint8(0), codes)


def restored_values(
    x: Groups, side: SideData, scheme: ElementScheme, tensor_scale: SecondLevel | None
) -> Groups:
    """Return the dequantized values of groups without making the codes."""
    return restore(_element_values(x, side, scheme, tensor_scale), side, scheme, tensor_scale)


def _element_values(
    x: Groups, side: SideData, scheme: ElementScheme, tensor_scale: SecondLevel | None
) -> Groups:
    normalized = normalize(x, side, scheme, tensor_scale)
    if scheme.zero_point is ZeroPoint.INTEGER:
        assert side.zero_points is not None
        codes = _asymmetric_codes(normalized, side, scheme)
        return codes - side.zero_points.astype(jnp.float32)[..., None]
    return round_element(scheme.element, normalized)


def _asymmetric_codes(x: Groups, side: SideData, scheme: ElementScheme) -> Groups:
    """Return ``clip(round(x) + zero_point)``: rounded before the shift, as in GPTQ and AWQ."""
    assert side.zero_points is not None and isinstance(scheme.element, IntFormat)
    shifted = jnp.round(x) + side.zero_points.astype(jnp.float32)[..., None]
    return jnp.clip(shifted, 0, scheme.element.max)
