"""The dot product of :mod:`numerics.dot` in plain Python: exact fractions, rounded as it defines.

A slow reference for tests of the array code and of hardware. It reads the codes and scales of a
quantized tensor and calls none of the array code.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jax import Array
from jaxtyping import Float32

from numerics.arithmetic.float32 import MIN_NORMAL
from numerics.formats import E8M0, FP32
from numerics.schemes.element import ElementScheme
from numerics.schemes.element_arrays import element_scheme_of
from numerics.schemes.tensor import QuantizedTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One row of an operand."""

    integers: list[int]
    unit: Fraction
    group: int
    #: Factors of the scale of each group, in the order in which they are applied.
    scales: list[list[float]]


def reference_dot(a: QuantizedTensor, w: QuantizedTensor) -> Float32[np.ndarray, "m n"]:
    """Return what :func:`numerics.dot.grouped_dot` must return, bit for bit except NaN payloads."""
    left, right = _rows(a), _rows(w)
    return np.array([[_dot(x, y) for y in right] for x in left], np.float32)


def rounded(exact: Fraction, approximate: float) -> float:
    """Round to float32, half to even; magnitudes below 2^-126 become zero.

    ``approximate`` is the number as a Python float, for the sign of a zero.
    """
    value = FP32.round(exact)
    return math.copysign(0.0 if abs(value) < MIN_NORMAL else value, approximate)


def _dot(a: _Row, w: _Row) -> float:
    length, segment = len(a.integers), min(a.group, w.group)
    total = 0.0
    for start in range(0, length, segment):
        within = range(start, min(start + segment, length))
        integer = sum(a.integers[i] * w.integers[i] for i in within)
        term = _times(FP32.round(integer), float(a.unit * w.unit))
        for operand in (w, a):
            if len(operand.scales) > 1:
                term = _times(term, *operand.scales[start // operand.group])
        total = _plus(total, term)
    for operand in (w, a):
        if len(operand.scales) == 1:
            total = _times(total, *operand.scales[0])
    return total


def _plus(x: float, y: float) -> float:
    if not math.isfinite(x + y):
        return x + y
    return rounded(Fraction(x) + Fraction(y), x + y)


def _times(x: float, *factors: float) -> float:
    for factor in factors:
        if math.isfinite(x * factor):
            x = rounded(Fraction(x) * Fraction(factor), x * factor)
        else:
            x = x * factor
    return x


def _rows(q: QuantizedTensor) -> list[_Row]:
    scheme, (count, length) = element_scheme_of(q), q.shape
    group = min(scheme.group_size or length, length)
    assert scheme.element.unit is not None
    unit = Fraction(scheme.element.unit)
    shape = (count, -(-length // group))
    scales = np.broadcast_to(np.asarray(q.scales).astype(np.float64), shape)
    outer = [None] * count if q.tensor_scale is None else _by_row(q.tensor_scale, count)
    rows = []
    for i, codes in enumerate(np.asarray(q.codes).tolist()):
        integers = [int(Fraction(scheme.element.decode(code)) / unit) for code in codes]
        if q.zero_points is not None:
            zeros = np.broadcast_to(np.asarray(q.zero_points), shape)[i].tolist()
            integers = [n - zeros[j // group] for j, n in enumerate(integers)]
        factors = [_factors(scale, scheme, outer[i]) for scale in scales[i].tolist()]
        if scheme.group_size is None:
            factors = factors[:1]
        rows.append(_Row(integers=integers, unit=unit, group=group, scales=factors))
    return rows


def _by_row(tensor_scale: Array, count: int) -> list[float]:
    """Return the second level of scales, which has one entry or one a row, as one a row."""
    by_row: list[float] = np.broadcast_to(np.asarray(tensor_scale).reshape(-1), (count,)).tolist()
    return by_row


def _factors(scale: float, scheme: ElementScheme, outer: float | None) -> list[float]:
    """Return the factors that a scale is applied as: two for a power of two."""
    if math.isnan(scale):
        return [scale]
    if scheme.scale_format == E8M0:
        exponent = math.frexp(scale)[1] - 1
        return [math.ldexp(1.0, exponent // 2), math.ldexp(1.0, exponent - exponent // 2)]
    if outer is not None:
        return [_times(scale, outer)]
    return [scale]
