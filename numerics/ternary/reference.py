"""Scalar definitions of the ternary and binary quantizers.

Sums are pairwise float32 sums (:func:`numerics.schemes.scales.tree_sum`); BitNet's mean first adds
runs of 64 numbers in sequence. Another order changes the last bits. Subnormal numbers count as
zeros, and reciprocals are at least 2^-126.
"""

import math
from collections.abc import Sequence

import numpy as np

from numerics.arithmetic.float32 import MIN_NORMAL

Float = np.float32
#: Lower bound of BitNet's mean magnitude of a tensor, and of its maximum of a token.
EPSILON = Float(1e-5)
#: Number of magnitudes that BitNet's mean adds in sequence before the pairwise sum.
RUN = 64


def quantize_absmean(values: Sequence[float]) -> tuple[list[int], Float]:
    """Return trits and scale s of all values of a tensor: ``trit = clip(rint(x * s), -1, 1)``.

    ``s = 1 / max(mean(abs(x)), 1e-5)``, and the value of a trit is ``trit / s``. If the mean is not
    finite, s is NaN and all trits are -1. Source: BitNet b1.58, arXiv:2402.17764, section 2, with
    the rounding of its code.

    >>> quantize_absmean([0.5, -0.125, 0.25, -1.125])
    ([1, 0, 0, -1], np.float32(2.0))
    """
    x = flushed(values)
    runs = [x[start : start + RUN] for start in range(0, len(x), RUN)]
    with np.errstate(over="ignore"):
        mean = tree_sum([Float(sum(abs(v) for v in run)) for run in runs]) / Float(len(x))
    if not math.isfinite(mean):
        return [-1] * len(x), Float(np.nan)
    scale = one_over(mean)
    return [int(np.clip(np.rint(v * scale), -1, 1)) for v in x], scale


def quantize_token(values: Sequence[float]) -> tuple[list[int], Float]:
    """Return int8 codes and scale s of a token: ``code = rint(x * s)`` from -127 to 127.

    ``s = 127 * (1 / max(max(abs(x)), 1e-5))`` with both operations rounded, as torch divides a
    number by a tensor; the value of a code is ``code / s``. If a value is not finite, s is NaN and
    all codes are 0. Source: BitNet b1.58, arXiv:2402.17764, section 2, with the rounding of its
    code.

    >>> quantize_token([127.0, -2.5, 63.5])
    ([127, -2, 64], np.float32(1.0))
    """
    x = flushed(values)
    if not all(math.isfinite(v) for v in x):
        return [0] * len(x), Float(np.nan)
    scale = Float(127) * one_over(max(abs(v) for v in x))
    return [int(np.clip(np.rint(v * scale), -128, 127)) for v in x], scale


def quantize_twn(values: Sequence[float]) -> tuple[list[int], np.float16]:
    """Return trits and FP16 scale of a group: signs of numbers above ``0.7 * mean(abs(x))``.

    The scale is the mean magnitude of those numbers, 1 if there are none. If a value is not finite,
    the scale is NaN and all trits are -1. Source: Ternary Weight Networks, arXiv:1605.04711,
    section 2.

    >>> quantize_twn([1.0, -3.0, 0.25, 0.0])
    ([1, -1, 0, 0], np.float16(2.0))
    """
    x = flushed(values)
    if not all(math.isfinite(v) for v in x):
        return [-1] * len(x), np.float16(np.nan)
    with np.errstate(over="ignore"):
        threshold = tree_sum([abs(v) for v in x]) / Float(len(x)) * Float(0.7)
        beyond = [bool(abs(v) > threshold) for v in x]
        total = tree_sum([abs(v) if b else Float(0) for v, b in zip(x, beyond, strict=True)])
    trits = [int(np.sign(v)) if b else 0 for v, b in zip(x, beyond, strict=True)]
    if not any(x):
        return trits, np.float16(1)
    smallest, largest = np.finfo(np.float16).smallest_subnormal, np.finfo(np.float16).max
    mean = total / Float(max(sum(beyond), 1))
    return trits, np.float16(min(max(mean, Float(smallest)), Float(largest)))


def quantize_column(values: Sequence[float]) -> tuple[list[int], np.float16, np.float16]:
    """Return sign bits, a and b of a column; the value is ``b + a`` for bit 1, else ``b - a``.

    ``b = mean(w)`` and ``a = mean(abs(w - b))``, both rounded to FP16. The bit is the sign of w,
    not of ``w - b``, and 1 for zero. If a or b is not finite, both are NaN and all bits are 0.
    Source: FBI-LLM, arXiv:2407.07093, section 3.1, whose training takes 0 for the sign of zero.

    >>> quantize_column([0.5, 0.25])
    ([1, 1], np.float16(0.125), np.float16(0.375))
    """
    x = flushed(values)
    with np.errstate(over="ignore", invalid="ignore"):
        b = tree_sum(x) / Float(len(x))
        a = tree_sum([abs(v) for v in flushed([float(v - b) for v in x])]) / Float(len(x))
    if not (math.isfinite(a) and math.isfinite(b)):
        return [0] * len(x), np.float16(np.nan), np.float16(np.nan)
    largest = Float(np.finfo(np.float16).max)
    halves = [np.float16(min(max(v, -largest), largest)) for v in (a, b)]
    return [int(v >= 0) for v in x], halves[0], halves[1]


def tree_sum(x: Sequence[Float]) -> Float:
    """Return the pairwise sum: padded to a power of two, the upper half is added to the lower."""
    numbers = list(x) + [Float(0)] * ((1 << (len(x) - 1).bit_length()) - len(x))
    with np.errstate(over="ignore", invalid="ignore"):
        while len(numbers) > 1:
            half = len(numbers) // 2
            numbers = [numbers[i] + numbers[half + i] for i in range(half)]
    return numbers[0]


def one_over(statistic: Float) -> Float:
    """Return the reciprocal of ``max(statistic, 1e-5)``, at least 2^-126.

    >>> one_over(np.float32(0.5)), one_over(np.float32(0.0))
    (np.float32(2.0), np.float32(100000.0))
    """
    return max(Float(1) / max(statistic, EPSILON), Float(MIN_NORMAL))


def flushed(values: Sequence[float]) -> list[Float]:
    """Return float32 numbers with subnormal ones replaced by zeros."""
    numbers = [Float(v) for v in values]
    return [Float(0) if abs(v) < MIN_NORMAL else v for v in numbers]
