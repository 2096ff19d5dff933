"""Scalar definitions of the integer conventions, with the float32 operations of their sources.

All of them differ from their sources in edge cases: subnormal numbers count as zeros, scales are
finite and at least 2^-126, and a group with a NaN or an infinity has a NaN scale and codes 0.
"""

import math
from collections.abc import Sequence

import numpy as np

from numerics.arithmetic.float32 import MAX_FLOAT32, MIN_NORMAL
from numerics.conventions.integers import CLIPS, UNSIGNED, Convention

Float = np.float32
#: Lower bound on the range of values in SmoothQuant, AWQ and QuaRot.
LEAST_RANGE = Float(1e-5)
#: Scale of an all-zero group in compressed-tensors: the float32 epsilon.
ZERO_SCALE = Float(2.0**-23)


def quantize_group(
    values: Sequence[float], convention: Convention, *, bits: int
) -> tuple[list[int], np.floating, int]:
    """Return integers, scale and zero point of a group; see :class:`Convention`.

    >>> quantize_group([0.75, 1.5, -7.0], Convention.QUAROT, bits=4)
    ([1, 2, -7], np.float32(1.0), 0)
    >>> quantize_group([0.5, -1.0, 14.0], Convention.GPTQ, bits=4)
    ([1, 0, 15], np.float32(1.0), 1)
    >>> quantize_group([0.5, -1.0, 14.0], Convention.COMPRESSED_ASYM, bits=4)
    ([-6, -8, 7], np.float32(1.0), -7)
    """
    x = [Float(0) if abs(v) < MIN_NORMAL else v for v in map(Float, values)]
    if not all(math.isfinite(v) for v in x):
        kind = np.float16 if convention is Convention.SIGNED_MAX else Float
        return [0] * len(x), kind(np.nan), 0
    with np.errstate(over="ignore"):
        scale = find_scale(x, convention, bits)
        zero_point = find_zero_point(x, scale, convention, bits)
        return [code(v, scale, zero_point, convention, bits) for v in x], scale, zero_point


def find_scale(x: Sequence[Float], convention: Convention, bits: int) -> np.floating:
    """Return the scale of a group."""
    half, top = 1 << (bits - 1), (1 << bits) - 1
    low, high = value_range(x, convention)
    amax = max(-low, high)
    match convention:
        case Convention.SMOOTHQUANT | Convention.QUAROT:
            return max(amax, LEAST_RANGE) / Float(half - 1)
        case Convention.QUAROT_ACT:
            return stored(amax / Float(half - 1)) if amax else Float(1)
        case Convention.COMPRESSED:
            return stored(amax / Float(top / 2)) if amax else ZERO_SCALE
        case Convention.COMPRESSED_ASYM:
            return stored(spread(low, high) / Float(top)) if amax else ZERO_SCALE
        case Convention.AWQ:
            return max(spread(low, high), LEAST_RANGE) / Float(top)
        case Convention.SIGNED_MAX:
            return signed_max_scale(x, half)
        case Convention.GPTQ_SYM:
            low, high = (-amax if low else low), amax
    if not amax:
        low, high = Float(-1), Float(1)
    return stored(spread(low, high) / Float(top))


def signed_max_scale(x: Sequence[Float], half: int) -> np.float16:
    """Return the FP16 scale that makes the first value of largest magnitude ``-half``.

    >>> signed_max_scale([np.float32(3), np.float32(-4), np.float32(4)], 8)
    np.float16(0.5)
    """
    amax = max(abs(v) for v in x)
    if not amax:
        return np.float16(1)
    extreme = next(v for v in x if abs(v) == amax)
    halves = np.finfo(np.float16)
    size = np.clip(amax / Float(half), Float(halves.smallest_subnormal), Float(halves.max))
    return np.float16(-np.copysign(size, extreme))


def find_zero_point(
    x: Sequence[Float], scale: np.floating, convention: Convention, bits: int
) -> int:
    """Return the zero point of a group, 0 in conventions without zero points."""
    half, top = 1 << (bits - 1), (1 << bits) - 1
    low, high = value_range(x, convention)
    match convention:
        case Convention.GPTQ_SYM:
            return half
        case Convention.AWQ | Convention.GPTQ | Convention.QUAROT_KV:
            is_zero = low == high == 0 and convention is not Convention.AWQ
            low = Float(-1) if is_zero else low
            return int(np.clip(-np.rint(low / scale), 0, top))
        case Convention.COMPRESSED_ASYM:
            is_zero = low == high == 0
            return 0 if is_zero else int(np.rint(np.clip(-half - low / scale, -half, half - 1)))
    return 0


def code(x: Float, scale: np.floating, zero_point: int, convention: Convention, bits: int) -> int:
    """Return the code of one number as an integer."""
    half, top = 1 << (bits - 1), (1 << bits) - 1
    ratio = x / Float(scale)
    if convention in UNSIGNED:
        return int(np.clip(np.rint(ratio) + Float(zero_point), 0, top))
    return int(np.rint(np.clip(ratio + Float(zero_point), -half, half - 1)))


def value_range(x: Sequence[Float], convention: Convention) -> tuple[Float, Float]:
    """Return the least and largest value of the range that a convention maps to integers."""
    low, high = min(x), max(x)
    if convention is not Convention.AWQ:
        low, high = min(low, Float(0)), max(high, Float(0))
    clip = Float(CLIPS.get(convention, 1))
    return low * clip, high * clip


def spread(low: Float, high: Float) -> Float:
    """Return ``high - low``, at most the largest float32 number."""
    return min(high - low, Float(MAX_FLOAT32))


def stored(scale: Float) -> Float:
    """Return the scale, raised to the smallest normal float32 number if it is smaller."""
    return max(scale, Float(MIN_NORMAL))
