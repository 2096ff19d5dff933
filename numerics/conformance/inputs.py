"""Inputs that distinguish number formats and scale rules."""

import itertools
import math

import numpy as np
from jaxtyping import Float32, UInt32

from numerics.formats import Format

#: Number of float32 neighbours on each side of a value or midpoint.
NEIGHBOURS = 3
#: Rows and length of a block tensor; groups of 128 leave a shorter last one of 32.
ROWS, LENGTH = 2, 288
INFINITY, NAN, NEGATIVE_NAN = 0x7F800000, 0x7FC00000, 0xFFC00000
SIGN = 0x80000000
#: Zero, the smallest and largest subnormal, the smallest normal, one, the largest, infinity.
LANDMARKS = (0, 1, 0x7FFFFF, 0x800000, 0x3F800000, 0x7F7FFFFF, INFINITY)


def format_inputs(fmt: Format) -> UInt32[np.ndarray, " n"]:
    """Return the bits of float32 numbers around all values, midpoints and limits of a format."""
    values = sorted({abs(value) for value in fmt.values if math.isfinite(value)})
    middles = [(low + high) / 2 for low, high in itertools.pairwise(values)]
    beyond = values[-1] + (values[-1] - values[-2]) / 2
    points = np.array([*values, *middles, values[0] / 2, beyond], np.float64)
    bits = points[points <= np.finfo(np.float32).max].astype(np.float32).view(np.uint32)
    around = bits[:, None].astype(np.int64) + np.arange(-NEIGHBOURS, NEIGHBOURS + 1)
    magnitudes = np.concatenate([around[around >= 0].ravel(), LANDMARKS])
    signed = np.concatenate([magnitudes, magnitudes | SIGN])
    nan = [NAN, NEGATIVE_NAN] if has_nan(fmt) else []
    return np.unique(np.concatenate([signed, nan])).astype(np.uint32)


def has_nan(fmt: Format) -> bool:
    """Whether the format has a code for NaN."""
    return any(math.isnan(value) for value in fmt.values)


def block_tensors() -> dict[str, Float32[np.ndarray, "rows length"]]:
    """Return the block tensors by letter.

    A: a random exponent for each 16 values. B: largest magnitudes at, just below and just above
    powers of two. C: largest magnitudes around 6, 7, 7.5, 28, 127 and 448 times powers of two. D:
    multiples of 1/8, which give ties. E: one large value among small ones. F: zeros, a single -0, a
    NaN, infinities. G: subnormal numbers and the largest exponents. H: bfloat16 numbers. I: weights
    of a normal distribution.
    """
    rng = np.random.default_rng(20240229)
    normal = rng.standard_normal((9, ROWS, LENGTH)).astype(np.float32)
    exponents = np.repeat(rng.integers(-20, 21, (ROWS, LENGTH // 16)), 16, axis=1)
    powers = np.ldexp(np.float32(1), rng.integers(-8, 9, (ROWS, LENGTH // 16))).astype(np.float32)
    tops = np.array([6.0, 7.0, 7.5, 28.0, 127.0, 448.0], np.float32)
    return {
        "A": np.ldexp(normal[0], exponents).astype(np.float32),
        "B": _with_largest(normal[1], powers),
        "C": _with_largest(normal[2], powers * np.resize(tops, powers.shape)),
        "D": (rng.integers(-64, 65, (ROWS, LENGTH)) / 8).astype(np.float32),
        "E": _with_largest(normal[4] * np.float32(1e-4), powers * 512),
        "F": _specials(normal[5]),
        "G": _extreme(normal[6]),
        "H": (normal[7].view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32),
        "I": normal[8] * np.float32(0.02),
    }


def _with_largest(
    x: Float32[np.ndarray, "rows length"], largest: Float32[np.ndarray, "rows blocks"]
) -> Float32[np.ndarray, "rows length"]:
    """Give each 16 values a largest magnitude: at, one ulp below and one above ``largest``."""
    bits = largest.view(np.uint32) + np.resize(np.array([0, -1, 1]), largest.shape).astype(np.int64)
    tops = bits.astype(np.uint32).view(np.float32)
    blocks = x.reshape(*tops.shape, 16)
    scaled = blocks / (2 * np.abs(blocks).max(axis=-1, keepdims=True)) * tops[..., None]
    scaled[..., 5] = -tops
    out: np.ndarray = scaled.astype(np.float32).reshape(x.shape)
    return out


def _specials(x: Float32[np.ndarray, "rows length"]) -> Float32[np.ndarray, "rows length"]:
    out = x.copy()
    out[0, :128] = 0.0
    out[0, 3] = -0.0
    out[0, 130] = np.nan
    out[1, 1] = np.inf
    out[1, 140:142] = -np.inf, np.nan
    return out


def _extreme(x: Float32[np.ndarray, "rows length"]) -> Float32[np.ndarray, "rows length"]:
    out = x.copy()
    out[0] = np.ldexp(x[0], -130)
    out[1] = np.ldexp(x[1] / np.abs(x[1]).max(), 127)
    out[0, 128:256] = np.ldexp(x[0, 128:256], -120)
    return out
