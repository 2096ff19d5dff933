"""Matrix products in JAX with the arithmetic of PEs whose sums round, to run models with it.

Activations are rounded to FP16, the only activation format of these PEs. Each group of weights
starts a new accumulator; a group that ends within a beat is padded with zeros. A group's result,
rounded to float32 if necessary, is multiplied by its scale and added to the previous groups in the
order of :mod:`numerics.dot`, both in float32. Two PEs accumulate in FP32 themselves:
:class:`ColumnDot` adds group sums times their 8-bit scales, so that only the scale of the row is
left, and :class:`Fp16Dot` adds the products of a whole row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float32, Int32, Integer, UInt16

from numerics.arithmetic.cast import encode
from numerics.arithmetic.division import from_bits, multiply
from numerics.arithmetic.float32 import BIAS
from numerics.arithmetic.float32 import MANTISSA_BITS as FLOAT32_MANTISSA_BITS
from numerics.formats import FP16
from numerics.pe.aligned import UNIT_EXPONENT, AlignedDot
from numerics.pe.aligned_arrays import accumulators
from numerics.pe.dequantizer import ColumnDot
from numerics.pe.exact_dot import integer_table
from numerics.pe.fp16_mac import Fp16Dot
from numerics.pe.half_tables import EXPONENTS, SIGNIFICANDS
from numerics.pe.rounding import RoundingPe, aligned_model, check_pe, group_length
from numerics.pe.rounding_codes import pe_codes
from numerics.pe.running import RunningDot
from numerics.schemes.tensor import QuantizedTensor

#: Function from the codes of a group, weights (beats, lanes, n) and activations (beats, lanes, t),
#: to the group's results, shape (t, n).
GroupValue = Callable[[Array, Array], Array]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PeMatrix:
    """A quantized matrix and the PE that multiplies it; a JAX pytree."""

    weight: QuantizedTensor
    pe: RoundingPe


jax.tree_util.register_dataclass(PeMatrix, data_fields=["weight"], meta_fields=["pe"])


@jax.jit
def pe_product(x: Float32[Array, "t k"], matrix: PeMatrix) -> Float32[Array, "t n"]:
    """Return ``x @ weight.T`` with every sum rounded as in the PE.

    Raises
    ------
    ValueError
        The PE doesn't support the weights' scheme or group length.
    """
    weight, pe = matrix.weight, matrix.pe
    rows, length = weight.shape
    check_pe(weight.scheme, pe, length)
    if isinstance(pe, Fp16Dot):
        return fp16_product(x, encode(FP16, weight.dequantize()))
    group = group_length(weight.scheme, length)
    lanes, value = (
        (1, partial(_running_value, pe))
        if isinstance(pe, RunningDot)
        else (aligned_model(pe).lanes, partial(_aligned_value, aligned_model(pe)))
    )
    weights, inputs = (
        _groups_of(codes, group, lanes) for codes in (pe_codes(weight, pe), encode(FP16, x))
    )
    scales = weight.scales.astype(jnp.float32)
    if isinstance(pe, ColumnDot):
        of_groups = weight.arrays["scale_codes"].astype(jnp.float32)
        return multiply(_sum_of_groups(value, weights, inputs, of_groups), scales[None, :])
    of_groups = jnp.broadcast_to(scales, (rows, -(-length // group)))
    return _sum_of_groups(value, weights, inputs, of_groups)


def fp16_product(x: Float32[Array, "t k"], codes: UInt16[Array, "n k"]) -> Float32[Array, "t n"]:
    """Return ``x @ weight.T`` of FP16 weight codes, accumulated sequentially in FP32.

    Products are exact, so a fused multiply-add gives the same result as separate operations.
    """
    weights, inputs = (_fp16_numbers(each).T for each in (codes, encode(FP16, x)))

    def add(total: Array, each: tuple[Array, Array]) -> tuple[Array, None]:
        weight, activation = each
        return total + activation[:, None] * weight[None, :], None

    start = jnp.zeros((x.shape[0], codes.shape[0]), jnp.float32)
    total: Array = lax.scan(add, start, (weights, inputs))[0]
    return total


def _fp16_numbers(codes: UInt16[Array, "*shape"]) -> Float32[Array, "*shape"]:
    """Return the numbers of FP16 codes; NaN and infinities count as 0."""
    significands, exponents = (jnp.asarray(t, jnp.int32)[codes] for t in (SIGNIFICANDS, EXPONENTS))
    return significands.astype(jnp.float32) * _power(exponents + UNIT_EXPONENT)


def _power(exponents: Int32[Array, "*shape"]) -> Float32[Array, "*shape"]:
    """Return ``2**exponents``; the results must be normal numbers."""
    found: Array = from_bits((exponents + BIAS) << FLOAT32_MANTISSA_BITS)
    return found


def _sum_of_groups(
    value: GroupValue,
    weights: Integer[Array, "groups beats lanes n"],
    codes: Integer[Array, "groups beats lanes t"],
    scales: Float32[Array, "n groups"],
) -> Float32[Array, "t n"]:
    """Return the float32 sum of group results times their scales."""

    def add_group(total: Array, each: tuple[Array, Array, Array]) -> tuple[Array, None]:
        of_weights, of_codes, scale = each
        return total + multiply(value(of_weights, of_codes), scale[None, :]), None

    start = jnp.zeros((codes.shape[-1], weights.shape[-1]), jnp.float32)
    total: Array = lax.scan(add_group, start, (weights, codes, scales.T))[0]
    return total


def _groups_of(
    codes: Integer[Array, "rows k"], group: int, lanes: int
) -> Integer[Array, "groups beats lanes rows"]:
    """Return codes by groups, beats and lanes, padded with code 0, whose value is 0."""
    rows, length = codes.shape
    codes = jnp.pad(codes, ((0, 0), (0, -length % group)))
    codes = codes.reshape(rows, -1, group)
    codes = jnp.pad(codes, ((0, 0), (0, 0), (0, -group % lanes)))
    return codes.reshape(rows, codes.shape[1], -1, lanes).transpose(1, 2, 3, 0)


def _aligned_value(
    pe: AlignedDot,
    weights: Integer[Array, "beats lanes n"],
    codes: Integer[Array, "beats lanes t"],
) -> Float32[Array, "t n"]:
    """Return the values of BitMoD's accumulators after a group, in units of the weights."""
    shape = codes.shape[-1], weights.shape[-1]
    mantissas, exponents = accumulators(pe, weights[:, :, None], codes[:, :, :, None], shape=shape)
    values = mantissas.astype(jnp.float32) * _power(exponents + UNIT_EXPONENT - pe.guard_bits)
    return values * np.float32(pe.generator.unit)


def _running_value(
    pe: RunningDot, weights: Integer[Array, "beats 1 n"], codes: Integer[Array, "beats 1 t"]
) -> Float32[Array, "t n"]:
    """Return the values of MixPE's accumulators after a group, rounded to float32."""
    values = jnp.asarray(integer_table(pe.weights), jnp.int32)[weights[:, 0]]
    significands, exponents = (
        jnp.asarray(table, jnp.int32)[codes[:, 0]] for table in (SIGNIFICANDS, EXPONENTS)
    )
    after = lax.cummax(exponents)
    before = jnp.concatenate([jnp.zeros_like(after[:1]), after[:-1]])

    def add(total: Array, each: tuple[Array, ...]) -> tuple[Array, None]:
        value, significand, shift, drop = each
        product = significand[:, None] * value[None, :] << pe.guard_bits
        return (total >> drop[:, None]) + (product >> shift[:, None]), None

    steps = values, significands, after - exponents, after - before
    start = jnp.zeros((codes.shape[-1], weights.shape[-1]), jnp.int32)
    total = lax.scan(add, start, steps)[0]
    powers = _power(after[-1] + UNIT_EXPONENT - pe.guard_bits)
    assert pe.weights.unit is not None
    return total.astype(jnp.float32) * powers[:, None] * np.float32(pe.weights.unit)
