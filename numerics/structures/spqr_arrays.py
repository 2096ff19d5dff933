"""Array code of SpQR."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float32, Int32

from numerics.arithmetic.cast import encode
from numerics.arithmetic.division import divide, fence, multiply
from numerics.arithmetic.float32 import MIN_NORMAL
from numerics.formats import FP16, FP32, SCALE_DTYPES, Format
from numerics.schemes.scales import tree_sum
from numerics.schemes.tensor import QuantizedTensor
from numerics.structures.spqr import GROUP, STATISTICS_BITS, SpQR

#: Values by row and group, padded with zeros; ``Inside`` marks values that are not padding.
Groups = Float32[Array, "rows groups 16"]
Inside = Bool[Array, "rows groups 16"]
#: One number for each group.
PerGroup = Float32[Array, "rows groups"]
#: Lower bound on divisors, as in SpQR's code.
LEAST = 1e-9


class _Quantized(NamedTuple):
    """Scales or zeros of all groups: codes, stored least and step, and dequantized values."""

    codes: Int32[Array, "rows groups"]
    stored: Array
    values: PerGroup


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: SpQR) -> QuantizedTensor:
    """Return codes, quantized scales and zeros, and outliers."""
    rows = x.reshape(-1, x.shape[-1])
    finite = fence(jnp.where(jnp.isfinite(rows), rows, 0.0))
    groups, inside = _groups(finite), _groups(jnp.ones(rows.shape, bool))
    is_outlier = jnp.zeros(rows.shape, bool)
    outliers: dict[str, Array] = {}
    if scheme.outliers:
        where = _outliers(groups, inside, x.shape, scheme)
        is_outlier = is_outlier.ravel().at[where].set(True).reshape(rows.shape)
        outliers = {
            "outliers": _rounded(finite.ravel()[where], FP16),
            "outlier_columns": (where % rows.shape[1]).astype(jnp.uint16),
            "row_starts": jnp.searchsorted(
                where, jnp.arange(rows.shape[0] + 1) * rows.shape[1]
            ).astype(jnp.int32),
        }
    fitted = inside & ~_groups(is_outlier)
    scales, zeros = (_second_level(of, scheme) for of in _fit(groups, fitted, scheme.bits))
    codes = _codes(jnp.where(_groups(is_outlier), 0.0, groups), scales, zeros, scheme.bits)
    is_bad = _tiles(jnp.any(~jnp.isfinite(_groups(rows)), axis=2)).any(axis=1)
    arrays = {
        "codes": codes.reshape(len(rows), -1)[:, : x.shape[-1]].reshape(x.shape),
        "scale_codes": scales.codes,
        "zero_codes": zeros.codes,
        "scales": jnp.where(is_bad[..., None], jnp.nan, scales.stored),
        "zeros": zeros.stored,
    } | outliers
    fields = scheme.layout(x.shape)
    stored = {field.name: arrays[field.name].astype(field.dtype) for field in fields}
    return QuantizedTensor(arrays=stored, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``scale * (code - zero)`` with the outliers put in or added."""
    scheme = q.scheme
    assert isinstance(scheme, SpQR)
    count, length = math.prod(q.shape[:-1]), q.shape[-1]
    scales = _restored(q.arrays["scale_codes"], q.arrays["scales"])
    zeros = _restored(q.arrays["zero_codes"], q.arrays["zeros"])
    codes = _groups(q.codes.reshape(count, length).astype(jnp.float32))
    is_bad = jnp.isnan(scales)
    values = multiply(codes - zeros[..., None], jnp.where(is_bad, 0.0, scales)[..., None])
    values = fence(_rows(values, length))
    if scheme.outliers:
        outliers = q.arrays["outliers"].astype(jnp.float32)
        number = jnp.arange(len(outliers))
        row = jnp.searchsorted(q.arrays["row_starts"], number, side="right") - 1
        column = q.arrays["outlier_columns"].astype(jnp.int32)
        at = values.at[row, column]
        values = at.add(outliers) if scheme.adds else at.set(outliers)
    poison = _rows(jnp.broadcast_to(is_bad[..., None], codes.shape), length)
    return jnp.where(poison, jnp.nan, values).reshape(q.shape)


def _groups(rows: Array) -> Array:
    """Return the groups of rows, the last one padded with zeros."""
    padded = jnp.pad(rows, ((0, 0), (0, -rows.shape[1] % GROUP)))
    return padded.reshape(len(rows), -1, GROUP)


def _rows(groups: Array, length: int) -> Array:
    return groups.reshape(len(groups), -1)[:, :length]


def _tiles(per_group: Array) -> Array:
    """Return per-group numbers in tiles of 16 rows; the last row is repeated to fill a tile."""
    padded = jnp.pad(per_group, ((0, -len(per_group) % GROUP), (0, 0)), mode="edge")
    return padded.reshape(-1, GROUP, per_group.shape[1])


def _fit(groups: Groups, fitted: Inside, bits: int) -> tuple[PerGroup, PerGroup]:
    """Return scale and zero of each group; both are 0 for a group without fitted values."""
    low = fence(jnp.min(jnp.where(fitted, groups, jnp.inf), axis=2))
    high = fence(jnp.max(jnp.where(fitted, groups, -jnp.inf), axis=2))
    is_empty = low > high
    low, high = jnp.where(is_empty, 0.0, low), jnp.where(is_empty, 0.0, high)
    step = fence(divide(fence(high - low), float(2**bits - 1)))
    is_constant = step < MIN_NORMAL
    scale = jnp.where(is_constant, jnp.abs(low), step)
    zero = jnp.where(is_constant, -jnp.sign(low), -fence(divide(low, scale)))
    return fence(scale), fence(zero)


def _second_level(of: PerGroup, scheme: SpQR) -> _Quantized:
    """Quantize scales or zeros to 3 bits between the least and the largest of 16 rows."""
    tiles = _tiles(of)
    least = _rounded(jnp.min(tiles, axis=1), scheme.second)
    low = least.astype(jnp.float32)
    span = fence(jnp.maximum(jnp.max(tiles, axis=1) - low, 0.0))
    step = _rounded(fence(divide(span, float(2**STATISTICS_BITS - 1))), scheme.second)
    width = fence(step.astype(jnp.float32))
    parts = divide(fence(tiles - low[:, None]), width[:, None])
    codes = jnp.round(jnp.clip(jnp.where(width[:, None] > 0, parts, 0.0), 0, 7))
    codes = codes.reshape(-1, of.shape[1])[: len(of)].astype(jnp.int32)
    stored = jnp.stack([least, step], axis=-1)
    return _Quantized(codes, stored, _restored(codes, stored))


def _restored(codes: Int32[Array, "rows groups"] | Array, stored: Array) -> PerGroup:
    """Return ``least + code * step``."""
    low, step = (stored[..., part].astype(jnp.float32) for part in (0, 1))
    low, step = (jnp.repeat(of, GROUP, axis=0)[: len(codes)] for of in (low, step))
    return fence(low + multiply(codes.astype(jnp.float32), step))


def _codes(groups: Groups, scales: _Quantized, zeros: _Quantized, bits: int) -> Array:
    """Return ``RNE(w / max(scale, 1e-9) + zero)``, saturated."""
    scale = jnp.maximum(scales.values, LEAST)[..., None]
    places = fence(divide(groups, scale)) + zeros.values[..., None]
    return jnp.round(jnp.clip(places, 0, 2**bits - 1))


def _rounded(x: Array, fmt: Format) -> Array:
    """Round to ``fmt``, saturating to its finite numbers."""
    if fmt == FP32:
        return fence(x)
    codes = encode(FP16, fence(x), overflow="satfinite")
    return fence(lax.bitcast_convert_type(codes, SCALE_DTYPES[FP16]))


def _outliers(
    groups: Groups, inside: Inside, shape: tuple[int, ...], scheme: SpQR
) -> Int32[Array, " outliers"]:
    """Return the sorted indices of the values whose removal reduces their group's error most."""
    whole = _errors(groups, inside, scheme.bits)
    gains = [
        whole - _errors(groups, inside & (jnp.arange(GROUP) != place), scheme.bits)
        for place in range(GROUP)
    ]
    gain = _rows(jnp.where(inside, jnp.stack(gains, axis=2), -jnp.inf), shape[-1])
    _, where = lax.top_k(fence(gain.ravel()), scheme.outlier_count(shape))
    return fence(jnp.sort(where))


def _errors(groups: Groups, fitted: Inside, bits: int) -> PerGroup:
    """Return the squared error of each group with unquantized scale and zero in float32."""
    scale, zero = _fit(groups, fitted, bits)
    divisor = jnp.maximum(scale, LEAST)[..., None]
    codes = jnp.clip(fence(divide(groups, divisor)) + zero[..., None], 0, 2**bits - 1)
    values = multiply(fence(jnp.round(codes)) - zero[..., None], scale[..., None])
    error = jnp.where(fitted, jnp.abs(fence(values) - groups), 0.0)
    return fence(tree_sum(multiply(error, error)))
