"""Array code of VPTQ."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32, Int32

from numerics.arithmetic.cast import encode
from numerics.arithmetic.division import divide, fence, multiply
from numerics.codebooks import lloyd_arrays
from numerics.codebooks.row_norm import squared_norms
from numerics.codebooks.search import nearest
from numerics.codebooks.vptq import Codebook, Vptq
from numerics.formats import FP16, SCALE_DTYPES
from numerics.schemes.tensor import QuantizedTensor

#: The transposed matrix: each row holds one of its columns.
Columns = Float32[Array, "columns rows"]
#: Unit of codebooks, 2^-10, over the unit of normalized columns, 2^-13.
SHARPER = 8


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: Vptq) -> QuantizedTensor:
    """Return codes, codebooks, scales, biases and the order of the columns."""
    columns = x.reshape(-1, x.shape[-1]).T
    is_poisoned = jnp.any(~jnp.isfinite(columns), axis=1)
    columns = fence(jnp.where(is_poisoned[:, None], 0.0, columns))
    order = jnp.argsort(-fence(squared_norms(columns)), stable=True)
    biases = _as_half(jnp.min(columns, axis=1))
    scales = _as_half(jnp.max(columns, axis=1) - jnp.min(columns, axis=1))
    units = _to_units(columns, scales, biases)[order]
    special = scheme.outlier_columns(x.shape[-1])
    arrays = _encode(units[special:], "", scheme.main, scheme.residual_bits)
    if scheme.outlier_codebook is not None:
        arrays |= _encode(units[:special], "outlier_", scheme.outlier_codebook, 0)
    masked = {
        name: jnp.where(is_poisoned[order][_of_codes(name, special)], 0, array)
        for name, array in arrays.items()
        if name.endswith("codes")
    }
    arrays |= masked | {
        "scales": jnp.where(is_poisoned, jnp.nan, scales),
        "biases": biases,
        "permutation": order,
    }
    fields = scheme.layout(x.shape)
    stored = {field.name: arrays[field.name].astype(field.dtype) for field in fields}
    return QuantizedTensor(arrays=stored, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``(C[i] + R[j]) * scale + bias``."""
    scheme = q.scheme
    assert isinstance(scheme, Vptq)
    values = _decode(q, "")
    if scheme.residual_bits:
        values = values + _decode(q, "residual_")
    if scheme.outlier_codebook is not None:
        outliers = _decode(q, "outlier_")
        rows = min(outliers.shape[1], values.shape[1])
        values = jnp.concatenate([outliers[:, :rows], values[:, :rows]])
    inverse = jnp.argsort(q.arrays["permutation"].astype(jnp.int32))
    columns = values[inverse, : math.prod(q.shape[:-1])] * (1 / SHARPER)
    scales, biases = (q.arrays[name].astype(jnp.float32)[:, None] for name in ("scales", "biases"))
    restored = multiply(columns, scales) + biases
    return jnp.where(jnp.isnan(scales), jnp.nan, restored).T.reshape(q.shape)


def _of_codes(name: str, special: int) -> slice:
    """Return the slice of the ordered columns that an array of codes covers."""
    return slice(None, special) if name.startswith("outlier") else slice(special, None)


def _as_half(x: Float32[Array, " columns"]) -> Float32[Array, " columns"]:
    """Round to finite FP16 numbers, as float32."""
    codes = encode(FP16, fence(x), overflow="satfinite")
    return fence(lax.bitcast_convert_type(codes, SCALE_DTYPES[FP16]).astype(jnp.float32))


def _to_units(
    columns: Columns, scales: Float32[Array, " columns"], biases: Float32[Array, " columns"]
) -> Int32[Array, "columns rows"]:
    """Return ``(column - bias) / scale`` between 0 and 1 in units of 2^-13; 0 if constant."""
    parts = divide(fence(columns - biases[:, None]), scales[:, None])
    parts = jnp.where(scales[:, None] > 0, parts, 0.0)
    return lloyd_arrays.to_units(jnp.clip(parts, 0.0, 1.0) * float(SHARPER))


def _encode(
    units: Int32[Array, "columns rows"], prefix: str, codebook: Codebook, residual_bits: int
) -> dict[str, Array]:
    """Return codes of shape (vectors, columns), and the codebooks."""
    padded = jnp.pad(units, ((0, 0), (0, -units.shape[1] % codebook.length)))
    vectors = fence(padded.reshape(-1, codebook.length))
    arrays = {}
    for name, bits in ((prefix, codebook.bits), ("residual_", residual_bits)):
        if bits == 0:
            continue
        table = lloyd_arrays.train_on_some(vectors, 1 << bits)
        found = fence(nearest(vectors, table))
        vectors = lloyd_arrays.subtract(vectors, table, found)
        arrays[f"{name}codes"] = found.reshape(len(units), -1).T
        arrays[f"{name}codebook"] = lloyd_arrays.from_units(table)
    return arrays


def _decode(q: QuantizedTensor, prefix: str) -> Columns:
    """Return the entries that codes select, columns in the order of the codes."""
    table = q.arrays[f"{prefix}codebook"].astype(jnp.float32)
    codes = q.arrays[f"{prefix}codes"].astype(jnp.int32).T
    return table[codes].reshape(len(codes), -1)
