"""Scalar definition of the libraries' NVFP4 in float32; see :class:`nvfp4.Library`."""

import math
from collections.abc import Sequence

import numpy as np

from numerics.arithmetic.float32 import MIN_NORMAL
from numerics.conventions.nvfp4 import Library
from numerics.formats import E2M1, E4M3

Float = np.float32
#: The largest value of E2M1 times the largest of E4M3.
LARGEST = Float(6 * 448)
#: Lower bound on g and on 1 / h, so that products with a block scale are normal numbers.
LEAST = Float(2.0**-117)


def find_top_scale(values: Sequence[float], library: Library) -> Float:
    """Return the scale of a tensor: h for compressed-tensors, g for the other libraries.

    >>> find_top_scale([-5376.0, 1.0], Library.TORCHAO), find_top_scale([-1.0], Library.COMPRESSED)
    (np.float32(2.0), np.float32(2688.0))
    """
    amax = max(abs(v) for v in flushed(values))
    if not all(math.isfinite(v) for v in values):
        return Float(np.nan)
    if library is Library.COMPRESSED:
        with np.errstate(over="ignore", divide="ignore"):
            reciprocal = LARGEST / amax
        return min(reciprocal, 1 / LEAST) if reciprocal < np.inf else Float(1)
    return max(amax / LARGEST, LEAST) if amax else Float(1)


def quantize_block(
    numbers: Sequence[float], top: Float, library: Library
) -> tuple[list[int], int, list[Float]]:
    """Return the E2M1 codes of a block, the E4M3 code of its scale, and the values of the codes.

    >>> codes, scale, values = quantize_block([6.0, -2.5], np.float32(1), Library.MODELOPT)
    >>> codes, E4M3.decode(scale), [float(v) for v in values]
    ([7, 12], 1.0, [6.0, -2.0])
    """
    x = flushed(numbers)
    if math.isnan(top):
        return [0] * len(x), E4M3.encode(math.nan), [Float(np.nan)] * len(x)
    code = scale_code(max(abs(v) for v in x), top, library)
    scale = Float(E4M3.decode(code))
    if library is Library.TORCHAO:
        ratios = [flush(v * (Float(1) / top / scale)) for v in x]
    elif library is Library.COMPRESSED:
        ratios = [flush(v / (scale / top)) for v in x]
    else:
        ratios = [flush(v / (scale * top)) for v in x]
    codes = [E2M1.encode(float(r), overflow="satfinite") for r in ratios]
    if library is not Library.TORCHAO:
        codes = [0 if v == 0 else c for v, c in zip(x, codes, strict=True)]
    unit = scale / top if library is Library.COMPRESSED else scale * top
    values = [flush(Float(E2M1.decode(c)) * unit) for c in codes]
    if library is Library.MODELOPT:
        values = [v if v else Float(0) for v in values]
    return codes, code, values


def scale_code(amax: Float, top: Float, library: Library) -> int:
    """Return the E4M3 code of the scale of a block."""
    match library:
        case Library.MODELOPT:
            raw = max(amax / (Float(6) * top), Float(2.0**-9)) if amax else Float(1)
        case Library.TORCHAO:
            raw = max(amax / Float(6) / top, Float(2.0**-6))
        case Library.COMPRESSED:
            raw = top * (amax / Float(6))
    code = E4M3.encode(float(raw), overflow="satfinite")
    return code or E4M3.encode(1 / 8)


def flushed(values: Sequence[float]) -> list[Float]:
    """Return float32 numbers with subnormal ones replaced by zeros of their sign."""
    return [flush(Float(v)) for v in values]


def flush(x: Float) -> Float:
    """Return a float32 number, or the zero of its sign if it is subnormal.

    >>> flush(np.float32(-1e-40))
    np.float32(-0.0)
    """
    return np.copysign(Float(0), x) if abs(x) < MIN_NORMAL else x
