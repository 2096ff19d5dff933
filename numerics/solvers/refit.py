"""Scales of ternary and binary weights refitted to the codes that the column loop chose.

With ``w ~ t s`` for each group, ``t`` in {-1, 0, 1}, the scales that minimise ``(w - t s) H (w - t
s)^T`` of a row solve ``sum_h (t_g H_gh t_h^T) s_h = w H t_g^T``; with a single scale that is ``s =
sum w H t / sum t H t``. Codes stay.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from numerics.arithmetic.float32 import MIN_NORMAL
from numerics.conventions.signs import Signs
from numerics.formats import TERNARY
from numerics.gguf.block_type import Rule
from numerics.gguf.scheme import GgufScheme
from numerics.gguf.unpacking import read_half, write_half
from numerics.schemes.element import ElementScheme
from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import QuantizedTensor
from numerics.ternary.schemes import BitNetTernary, Twn

Float64 = Float[np.ndarray, "out n"]


def can_refit(scheme: Scheme) -> bool:
    """Whether values are -1, 0 or 1 times a stored scale that is free to change."""
    match scheme:
        case ElementScheme():
            is_free = scheme.second_level is None and scheme.static_scale is None
            return scheme.element == TERNARY and is_free and not scheme.has_power_of_two_scales
        case GgufScheme():
            kind = scheme.block_type
            return kind.rule is Rule.ABSMAX and kind.largest == 1
    return isinstance(scheme, Signs | Twn | BitNetTernary)


def refit(
    q: QuantizedTensor, weight: Float64, hessian: Float[np.ndarray, "n n"]
) -> tuple[QuantizedTensor, Float[np.ndarray, " out"]]:
    """Return the tensor with the scales of least loss, and ``tr(D H D^T)`` of each row.

    Rows (or the tensor, if it has one scale) whose loss the stored scales would not reduce keep
    their scales.
    """
    before = _losses(q, weight, hessian)
    scales = _scales(q)
    found = _solved(q, weight, hessian, scales)
    stored = _with_scales(q, found)
    after = _losses(stored, weight, hessian)
    if len(scales) == 1:
        return (stored, after) if after.sum() < before.sum() else (q, before)
    is_better = after < before
    chosen = _with_scales(q, np.where(is_better[:, None], found, scales))
    return chosen, np.where(is_better, after, before)


def _solved(
    q: QuantizedTensor,
    weight: Float64,
    hessian: Float[np.ndarray, "n n"],
    scales: Float[np.ndarray, "rows groups"],
) -> Float[np.ndarray, "rows groups"]:
    """Return the least-squares scales; a group without one that is positive keeps its scale."""
    signs = np.sign(np.nan_to_num(np.asarray(q.dequantize(), np.float64)))
    width, groups = weight.shape[1], scales.shape[1]
    size = q.scheme.group_size or width
    starts = np.arange(0, width, size)[:groups]

    def against_all(start: int) -> np.ndarray:
        group = slice(start, start + size)
        products: np.ndarray = (signs[:, group] @ hessian[group]) * signs
        return np.add.reduceat(products, starts, axis=1)

    matrix = np.stack([against_all(int(start)) for start in starts], axis=1)
    right = np.add.reduceat((weight @ hessian) * signs, starts, axis=1)
    if len(scales) == 1:
        matrix, right = matrix.sum(axis=0, keepdims=True), right.sum(axis=0, keepdims=True)
    # A group of zeros has an equation of zeros: any scale solves it.
    is_empty = np.diagonal(matrix, axis1=1, axis2=2) <= 0
    matrix = matrix + is_empty[:, :, None] * np.eye(groups)
    found = np.linalg.solve(matrix, right[..., None])[..., 0]
    return np.where((found > 0) & ~is_empty, found, scales)


def _losses(
    q: QuantizedTensor, weight: Float64, hessian: Float[np.ndarray, "n n"]
) -> Float[np.ndarray, " out"]:
    d = np.asarray(q.dequantize(), np.float64) - weight
    losses: np.ndarray = np.einsum("oi,oi->o", d @ hessian, d)
    return losses


def _scales(q: QuantizedTensor) -> Float[np.ndarray, "rows groups"]:
    """Return the numbers by which -1, 0 and 1 are multiplied."""
    if isinstance(q.scheme, GgufScheme):
        return np.asarray(read_half(_blocks(q), q.scheme.block_type.d_at), np.float64)
    stored = np.asarray(q.scales, np.float64)
    return 1 / stored if isinstance(q.scheme, BitNetTernary) else stored


def _with_scales(q: QuantizedTensor, scales: Float[np.ndarray, "rows groups"]) -> QuantizedTensor:
    """Return the tensor with other scales, rounded to the type in which they are stored."""
    if isinstance(q.scheme, GgufScheme):
        at = q.scheme.block_type.d_at
        halves = write_half(jnp.asarray(_in_type(scales, np.dtype(np.float16)), jnp.float32))
        blocks = _blocks(q).at[..., at : at + 2].set(halves)
        arrays = {"blocks": blocks.reshape(q.arrays["blocks"].shape)}
        return QuantizedTensor(arrays=arrays, scheme=q.scheme, shape=q.shape)
    numbers = 1 / scales if isinstance(q.scheme, BitNetTernary) else scales
    stored = _in_type(numbers, np.asarray(q.scales).dtype)
    arrays = dict(q.arrays) | {"scales": jnp.asarray(stored)}
    return QuantizedTensor(arrays=arrays, scheme=q.scheme, shape=q.shape)


def _in_type(
    numbers: Float[np.ndarray, "rows groups"], kind: np.dtype[np.generic]
) -> Shaped[np.ndarray, "rows groups"]:
    """Return positive numbers as finite normal numbers of a type; zeros and NaN stay."""
    limits: Any = jnp.finfo(kind)  # type: ignore[no-untyped-call]
    least = max(float(limits.smallest_normal), MIN_NORMAL)
    clipped = np.clip(numbers, least, float(limits.max))
    return np.where((numbers > 0), clipped, numbers).astype(kind)


def _blocks(q: QuantizedTensor) -> jnp.ndarray:
    assert isinstance(q.scheme, GgufScheme)
    return q.arrays["blocks"].reshape(q.shape[0], -1, q.scheme.block_type.size)
