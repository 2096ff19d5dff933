"""Dot products of quantized operands: exact integers inside a group, float32 between groups.

An operand's element values are integers times the format's ``unit`` (with a zero point, codes minus
zero points), so the dot product of a group is an integer. A floating-point matrix product computes
it exactly if no partial sum needs more bits than a significand has. All other operations are
float32 in a defined order. For row ``i`` of ``a`` and row ``j`` of ``w``:

1. Segments are the groups of the operand with the smaller groups. The integer of a segment is
   rounded once to float32 and multiplied by the units.
2. It is multiplied by the scale of ``w`` in that segment, then by that of ``a``; the
   scale of an operand with one scale a row is applied in step 4.
3. Segments are added in ascending order, starting from +0.
4. The sum is multiplied by the scale of ``w``, then of ``a``, of operands with one scale a row.

Each operation rounds half to even; a product below 2^-126 becomes zero. A power-of-two scale is
applied as two factors, so that 2^-127 needs no subnormal number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32

from numerics.arithmetic.cast import decode
from numerics.arithmetic.division import from_bits, multiply
from numerics.arithmetic.float32 import BIAS, MANTISSA_BITS
from numerics.formats import Format
from numerics.schemes.element_arrays import element_scheme_of, rows_of, split_quantized
from numerics.schemes.scales import SideData, scale_exponents, scale_values
from numerics.schemes.tensor import QuantizedTensor

FLOAT32_BITS = 24
FLOAT64_BITS = 53
INT32_BITS = 31
#: Least number of values that one exact float32 sum must hold; below it float64 is used.
SHORTEST_PIECE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class DotPlan:
    """How the integer of a segment is computed without rounding."""

    #: Number of values of a full segment.
    segment: int
    #: Number of parts of a segment, each summed exactly before they are added as integers.
    pieces: int
    precision: Literal["float32", "float64"]


def grouped_dot(a: QuantizedTensor, w: QuantizedTensor) -> Float32[Array, "m n"]:
    """Return ``a @ w.T`` of operands of shapes (m, k) and (n, k), as this module defines it.

    Examples
    --------
    >>> from numerics import parse_scheme, quantize
    >>> scheme = parse_scheme("int8:g2:fp32")
    >>> a = quantize(jnp.float32([[127.0, 1.0, 254.0, 2.0]]), scheme)
    >>> grouped_dot(a, a).tolist()
    [[80650.0]]
    """
    plan = plan_dot(a, w)
    result: Array = _grouped_dot(a, w, plan=plan)
    return result


def plan_dot(a: QuantizedTensor, w: QuantizedTensor) -> DotPlan:
    """Return how ``grouped_dot`` computes its integers; refuse what it can't compute exactly."""
    _check_operands(a, w)
    segment = _segment(a, w)
    product = max_integer(a) * max_integer(w)
    piece = (1 << FLOAT32_BITS) // product
    if piece >= min(SHORTEST_PIECE, segment) and product * segment < 1 << INT32_BITS:
        return DotPlan(segment=segment, pieces=-(-segment // piece), precision="float32")
    if product * segment <= 1 << FLOAT64_BITS:
        return DotPlan(segment=segment, pieces=1, precision="float64")
    raise ValueError(
        f"a dot product of {segment} values of {_element(a).name} and {_element(w).name} needs "
        f"{(product * segment).bit_length()} bits, more than the {FLOAT64_BITS} of float64; "
        f"use smaller groups or narrower formats"
    )


def max_integer(q: QuantizedTensor) -> int:
    """Return the largest magnitude that an element of ``q`` can have, in units."""
    largest = _element(q).max_integer
    if largest is None:
        raise ValueError(f"values of {_element(q).name} are not integers times a unit")
    return largest


def integers(q: QuantizedTensor) -> Float32[Array, "rows k"]:
    """Return the element values over the format's unit, minus zero points: integers in float32.

    >>> from numerics import parse_scheme, quantize
    >>> integers(quantize(jnp.float32([[6.0, -1.5]]), parse_scheme("fp4:g2"))).tolist()
    [[12.0, -3.0]]
    """
    unit = _element(q).unit
    assert unit is not None
    rows = []
    for codes, side in split_quantized(q):
        values = decode(_element(q), codes) * (1 / unit)
        if side.zero_points is not None:
            values = values - side.zero_points.astype(jnp.float32)[..., None]
        rows.append(values.reshape(values.shape[0], -1))
    return jnp.concatenate(rows, axis=1).reshape(q.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operand:
    """An operand cut into segments."""

    #: Integers of each segment, cut into pieces that are summed exactly.
    parts: Float32[Array, "segments pieces rows piece"]
    #: Factors of the scale of each segment; empty with one scale a row.
    segment_scales: list[Float32[Array, "segments rows"]]
    #: Factors of the scale of each row; empty with one scale a segment.
    row_scales: list[Float32[Array, " rows"]]


#: Parts of both operands and the factors of their scales.
_Segment = tuple[Array, Array, list[Array], list[Array]]


@partial(jax.jit, static_argnames="plan")
def _grouped_dot(a: QuantizedTensor, w: QuantizedTensor, *, plan: DotPlan) -> Float32[Array, "m n"]:
    units = _unit(a) * _unit(w)
    left, right = _operand(a, plan), _operand(w, plan)

    def add_segment(total: Array, segment: _Segment) -> tuple[Array, None]:
        a_parts, w_parts, a_scales, w_scales = segment
        result = _exact_product(a_parts, w_parts, plan) * units
        return total + _scaled(result, a_scales, w_scales), None

    start = jnp.zeros((a.shape[0], w.shape[0]), jnp.float32)
    segments = (left.parts, right.parts, left.segment_scales, right.segment_scales)
    total, _ = lax.scan(add_segment, start, segments)
    return _scaled(total, left.row_scales, right.row_scales)


def _scaled(
    x: Float32[Array, "m n"],
    a_scales: Sequence[Float32[Array, " m"]],
    w_scales: Sequence[Float32[Array, " n"]],
) -> Float32[Array, "m n"]:
    for factor in w_scales:
        x = multiply(x, factor[None, :])
    for factor in a_scales:
        x = multiply(x, factor[:, None])
    return x


def _exact_product(
    a: Float32[Array, "pieces m piece"], w: Float32[Array, "pieces n piece"], plan: DotPlan
) -> Float32[Array, "m n"]:
    """Return the integers of a segment, rounded once to float32."""
    dimensions = (((2,), (2,)), ((0,), (0,)))
    if plan.precision == "float64":
        with jax.enable_x64(True):
            wide = (a.astype(jnp.float64), w.astype(jnp.float64))
            exact = lax.dot_general(*wide, dimensions, precision=lax.Precision.HIGHEST)
            return exact[0].astype(jnp.float32)
    pieces = lax.dot_general(a, w, dimensions, precision=lax.Precision.HIGHEST)
    return jnp.sum(pieces.astype(jnp.int32), axis=0).astype(jnp.float32)


def _operand(q: QuantizedTensor, plan: DotPlan) -> _Operand:
    rows, length = q.shape
    count, width = -(-length // plan.segment), -(-plan.segment // plan.pieces)
    x = jnp.pad(integers(q), ((0, 0), (0, count * plan.segment - length)))
    x = x.reshape(rows, count, plan.segment)
    x = jnp.pad(x, ((0, 0), (0, 0), (0, width * plan.pieces - plan.segment)))
    parts = x.reshape(rows, count, plan.pieces, width).transpose(1, 2, 0, 3)
    factors = [jnp.broadcast_to(f, (rows, f.shape[1])) for f in _scale_factors(q)]
    if factors[0].shape[1] == 1:
        row_scales = [factor[:, 0] for factor in factors]
        return _Operand(parts=parts, segment_scales=[], row_scales=row_scales)
    repeats = _group_length(q) // plan.segment
    scales = [jnp.repeat(factor, repeats, axis=1)[:, :count].T for factor in factors]
    return _Operand(parts=parts, segment_scales=scales, row_scales=[])


def _scale_factors(q: QuantizedTensor) -> list[Float32[Array, "rows groups"]]:
    """Return normal float32 numbers whose product is the scale: two for a power of two."""
    side = SideData(scales=q.scales)
    scheme = element_scheme_of(q)
    if not scheme.has_power_of_two_scales:
        return [scale_values(side, scheme, rows_of(q.tensor_scale))]
    exponents, poisoned = scale_exponents(side)
    halves = (exponents >> 1, exponents - (exponents >> 1))
    powers = [from_bits((half + BIAS) << MANTISSA_BITS) for half in halves]
    return [jnp.where(poisoned, jnp.nan, powers[0]), powers[1]]


def _element(q: QuantizedTensor) -> Format:
    return element_scheme_of(q).element


def _unit(q: QuantizedTensor) -> float:
    unit = _element(q).unit
    assert unit is not None
    return unit


def _group_length(q: QuantizedTensor) -> int:
    return min(q.scheme.group_size or q.shape[-1], q.shape[-1])


def _segment(a: QuantizedTensor, w: QuantizedTensor) -> int:
    """Return the length of the shorter groups, which must divide the longer ones."""
    shorter, longer = sorted((_group_length(a), _group_length(w)))
    if longer % shorter and longer != a.shape[-1]:
        raise ValueError(f"groups of {longer} values can't be cut into groups of {shorter}")
    return shorter


def _check_operands(a: QuantizedTensor, w: QuantizedTensor) -> None:
    if len(a.shape) != 2 or len(w.shape) != 2 or a.shape[1] != w.shape[1]:
        raise ValueError(f"operands must be (m, k) and (n, k), not {a.shape} and {w.shape}")
    for q in (a, w):
        if q.minimums is not None:
            raise ValueError(
                f"values of {q.scheme.name} are not integers times a scale; use asym, not floatmin"
            )
