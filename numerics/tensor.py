"""Quantized tensors: codes and side data under a scheme, and the round trip through them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import GetAttrKey
from jaxtyping import Float32, Shaped, UInt8

from numerics import _groups
from numerics.cast import decode, encode, round_element
from numerics.formats import FloatFormat, IntFormat
from numerics.scales import (
    Groups,
    SideData,
    find_side_data,
    find_tensor_scale,
    is_poisoned,
    normalize,
    restore,
)
from numerics.scheme import Scheme, StorageKind, ZeroPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedTensor:
    """Codes, one to a byte, with what turns them back into numbers; a JAX pytree.

    ``value = element(code) * scale``, or ``(code - zero_point) * scale``, or ``code * scale +
    minimum``; under a tensor scale, ``scale`` is its product with the block scale, rounded.
    Scales, zero points and minimums have the shape ``scheme.scale_shape(shape)``.
    """

    codes: UInt8[Array, "*shape"]
    #: In the array type of the scale format: float32, float16, bfloat16, float8_e4m3fn or
    #: float8_e8m0fnu.
    scales: Shaped[Array, "*groups"]
    zero_points: UInt8[Array, "*groups"] | None = None
    minimums: Shaped[Array, "*groups"] | None = None
    tensor_scale: Float32[Array, ""] | None = None
    scheme: Scheme

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return tuple(self.codes.shape)

    def dequantize(self) -> Float32[Array, "*shape"]:
        """Return the numbers that the codes stand for."""
        values: Array = _dequantize(self)
        return values

    def bits_per_weight(self, *, kind: StorageKind = "full") -> float:
        """Return the storage of one value; see :meth:`Scheme.bits_per_weight`."""
        return self.scheme.bits_per_weight(self.shape, kind=kind)


_LEAVES = ("codes", "scales", "zero_points", "minimums", "tensor_scale")


def _flatten(q: QuantizedTensor) -> tuple[tuple[tuple[GetAttrKey, Any], ...], Scheme]:
    return tuple((GetAttrKey(name), getattr(q, name)) for name in _LEAVES), q.scheme


def _unflatten(scheme: Scheme, leaves: Iterable[Any]) -> QuantizedTensor:
    """Rebuild around whatever JAX puts in place of arrays, hence without checking types."""
    q = object.__new__(QuantizedTensor)
    for name, leaf in zip((*_LEAVES, "scheme"), (*leaves, scheme), strict=True):
        object.__setattr__(q, name, leaf)
    return q


jax.tree_util.register_pytree_with_keys(QuantizedTensor, _flatten, _unflatten)


def quantize(x: Shaped[Array | np.ndarray, "*shape"], scheme: Scheme) -> QuantizedTensor:
    """Quantize float32 numbers along the last axis.

    Examples
    --------
    >>> from numerics import parse_scheme
    >>> q = quantize(jnp.float32([[1.0, -7.0, 0.4, 2.5]]), parse_scheme("int4:g4:fp32"))
    >>> q.codes.tolist(), q.scales.tolist(), q.dequantize().tolist()
    ([[1, 9, 0, 2]], [[1.0]], [[1.0, -7.0, 0.0, 2.0]])
    """
    _check(x)
    quantized: QuantizedTensor = _quantize(x, scheme)
    return quantized


@partial(jax.jit, static_argnames="scheme")
def _quantize(x: Float32[Array, "*shape"], scheme: Scheme) -> QuantizedTensor:
    tensor_scale = find_tensor_scale(x, scheme) if scheme.tensor_scale else None
    blocks = _groups.split_groups(x, scheme)
    sides = [find_side_data(block, scheme, tensor_scale) for block in blocks]
    codes = [
        _element_codes(block, side, scheme, tensor_scale)
        for block, side in zip(blocks, sides, strict=True)
    ]
    shape = scheme.scale_shape(x.shape)
    side = jax.tree.map(lambda *parts: _groups.join_scales(list(parts), shape), *sides)
    return QuantizedTensor(
        codes=_groups.join_groups(codes, x.shape),
        scales=side.scales,
        zero_points=side.zero_points,
        minimums=side.minimums,
        tensor_scale=tensor_scale,
        scheme=scheme,
    )


def fake_quantize(
    x: Shaped[Array | np.ndarray, "*shape"], scheme: Scheme
) -> Float32[Array, "*shape"]:
    """Return ``quantize(x, scheme).dequantize()``, bit for bit, without making the codes.

    Examples
    --------
    >>> from numerics import parse_scheme
    >>> fake_quantize(jnp.float32([[1.0, -6.0, 0.4, 2.6]]), parse_scheme("fp4:g4")).tolist()
    [[1.0, -6.0, 0.5, 3.0]]
    """
    _check(x)
    values: Array = _fake_quantize(x, scheme)
    return values


@partial(jax.jit, static_argnames="scheme")
def _fake_quantize(x: Float32[Array, "*shape"], scheme: Scheme) -> Float32[Array, "*shape"]:
    tensor_scale = find_tensor_scale(x, scheme) if scheme.tensor_scale else None
    rounded = []
    for block in _groups.split_groups(x, scheme):
        side = find_side_data(block, scheme, tensor_scale)
        values = _element_values(block, side, scheme, tensor_scale)
        rounded.append(restore(values, side, scheme, tensor_scale))
    return _groups.join_groups(rounded, x.shape)


@jax.jit
def _dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    restored = []
    for codes, side in split_quantized(q):
        values = decode(q.scheme.element, codes)
        if side.zero_points is not None:
            values = values - side.zero_points.astype(jnp.float32)[..., None]
        restored.append(restore(values, side, q.scheme, q.tensor_scale))
    return _groups.join_groups(restored, q.shape)


def split_quantized(
    q: QuantizedTensor,
) -> list[tuple[UInt8[Array, "rows _ _"], SideData]]:
    """Return codes and side data of the full groups and, if any, of the shorter last ones."""
    blocks = _groups.split_groups(q.codes, q.scheme)
    side = SideData(scales=q.scales, zero_points=q.zero_points, minimums=q.minimums)
    leaves, structure = jax.tree.flatten(side)
    parts = zip(*(_groups.split_scales(leaf, blocks) for leaf in leaves), strict=True)
    sides = [jax.tree.unflatten(structure, part) for part in parts]
    return list(zip(blocks, sides, strict=True))


def _element_codes(
    x: Groups, side: SideData, scheme: Scheme, tensor_scale: Float32[Array, ""] | None
) -> UInt8[Array, "*lead group"]:
    normalized = normalize(x, side, scheme, tensor_scale)
    if scheme.zero_point is ZeroPoint.INTEGER:
        codes = _asymmetric_codes(normalized, side, scheme).astype(jnp.uint8)
    elif isinstance(scheme.element, FloatFormat):
        codes = encode(scheme.element, normalized, overflow="satfinite")
    else:
        codes = encode(scheme.element, normalized)
    return jnp.where(is_poisoned(side, scheme, tensor_scale)[..., None], jnp.uint8(0), codes)


def _element_values(
    x: Groups, side: SideData, scheme: Scheme, tensor_scale: Float32[Array, ""] | None
) -> Groups:
    normalized = normalize(x, side, scheme, tensor_scale)
    if scheme.zero_point is ZeroPoint.INTEGER:
        assert side.zero_points is not None
        codes = _asymmetric_codes(normalized, side, scheme)
        return codes - side.zero_points.astype(jnp.float32)[..., None]
    return round_element(scheme.element, normalized)


def _asymmetric_codes(x: Groups, side: SideData, scheme: Scheme) -> Groups:
    """Return ``clip(round(x) + zero_point)``: rounded before the shift, as GPTQ and AWQ do."""
    assert side.zero_points is not None and isinstance(scheme.element, IntFormat)
    shifted = jnp.round(x) + side.zero_points.astype(jnp.float32)[..., None]
    return jnp.clip(shifted, 0, scheme.element.max)


def _check(x: Array | np.ndarray) -> None:
    if x.dtype != jnp.float32:
        raise TypeError(f"x is {x.dtype}, not float32; convert it first")
    if x.ndim == 0 or x.size == 0:
        raise ValueError(f"x of shape {x.shape} has no values along a last axis to quantize")
