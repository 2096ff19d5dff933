"""The floating-point baseline PE: FP16 products accumulated sequentially in FP32.

A product of two FP16 numbers is a multiple of ``2^-48`` with at most 22 bits, which FP32 holds
exactly; each addition rounds once, to nearest, ties to even. Sums are never subnormal, and can't
overflow in fewer than ``2^88`` additions. Codes of NaN and infinities count as 0.
:func:`fp16_mac` is the definition, :func:`fp16_macs` its array twin.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float32, UInt16

from numerics.formats import FP16, FP32
from numerics.pe.exact_dot import integer_value

#: Unit of FP16 products: every product is a multiple of it.
PRODUCT_UNIT = Fraction(1, 2**48)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fp16Dot:
    """Dot products of rows of FP16 numbers of any length by :func:`fp16_mac`."""


def fp32_sum(numbers: Iterable[Fraction]) -> float:
    """Return the sequential sum, rounded to FP32 after each addition.

    >>> fp32_sum([Fraction(2**24), Fraction(1), Fraction(1)])
    16777216.0
    """
    total = 0.0
    for number in numbers:
        total = FP32.round(Fraction(total) + number)
    return total


def fp16_mac(weight_codes: Sequence[int], codes: Sequence[int]) -> float:
    """Return the dot product of two rows of FP16 codes.

    >>> fp16_mac([0x3C00, 0x4000], [0x3C01, 0xBC00])  # 1 * 1.0009765625 + 2 * -1
    -0.9990234375
    """
    pairs = zip(weight_codes, codes, strict=True)
    return fp32_sum(
        integer_value(FP16, w) * integer_value(FP16, a) * PRODUCT_UNIT for w, a in pairs
    )


def fp16_macs(
    weight_codes: UInt16[np.ndarray, "*rows k"], codes: UInt16[np.ndarray, "*rows k"]
) -> Float32[np.ndarray, "*rows"]:
    """Return the dot products of many rows of FP16 codes."""
    weights, activations = fp16_numbers(weight_codes), fp16_numbers(codes)
    total = np.zeros(weights.shape[:-1], np.float32)
    for k in range(weights.shape[-1]):
        total += weights[..., k] * activations[..., k]
    return total


def fp16_numbers(codes: UInt16[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Return the numbers of FP16 codes; NaN and infinities count as 0."""
    values = codes.view(np.float16).astype(np.float32)
    return np.where(np.isfinite(values), values, np.float32(0))
