"""Exact dot products with block scales applied to block sums, in integers.

    sum over blocks of scale * sum(w * a)

A scale is one number or the product of a weight scale and an activation scale, in formats whose
values are multiples of a unit: INT8, FP16 (at most 65504 * 2^24, 40 bits), or E4M3 twice for NVFP4.
A block's scale is fetched once and multiplied once. Sources: MixPE, arXiv:2411.16158,
dequantization after the group; NVFP4 without the FP32 scale of its tensor.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from numerics.formats import FloatFormat, Format
from numerics.pe.exact_dot import (
    LARGEST_SUM,
    exact_dot,
    exact_dots,
    integer_table,
    integer_value,
    largest_sum,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockScaled:
    """Formats of the elements and of a block's scales, and the number of elements in a block.

    Codes of scales that are not a number count as 0.
    """

    weights: Format
    activations: Format
    scales: tuple[Format, ...]
    block: int

    @property
    def unit(self) -> float:
        """Value of the integer 1 in a sum.

        >>> from numerics import FORMATS
        >>> fp4, e4m3 = FORMATS["fp4_e2m1"], FORMATS["fp8_e4m3"]
        >>> nvfp4 = BlockScaled(weights=fp4, activations=fp4, scales=(e4m3, e4m3), block=16)
        >>> nvfp4.unit == 2.0 ** (-1 - 1 - 9 - 9)
        True
        """
        formats = (self.weights, self.activations, *self.scales)
        return prod(fmt.unit for fmt in formats if fmt.unit is not None)

    def dot(
        self,
        weight_codes: Sequence[int],
        codes: Sequence[int],
        scale_codes: Sequence[Sequence[int]],
    ) -> int:
        """Return the sum of blocks, each times its scales; the last block may be shorter.

        ``scale_codes`` has a sequence of codes for each scale format, one code for each block.

        >>> from numerics import FORMATS
        >>> int8 = FORMATS["int8"]
        >>> formats = BlockScaled(weights=int8, activations=int8, scales=(int8,), block=2)
        >>> formats.dot([1, 2, 3], [10, 10, 10], [[5, 7]])
        360
        """
        total = 0
        for block, codes_of_block in enumerate(zip(*scale_codes, strict=True)):
            part = slice(block * self.block, (block + 1) * self.block)
            added = exact_dot(self.weights, self.activations, weight_codes[part], codes[part])
            for fmt, code in zip(self.scales, codes_of_block, strict=True):
                added *= integer_value(fmt, code)
            total += added
        return total

    def dots(
        self, weight_codes: np.ndarray, codes: np.ndarray, scale_codes: Sequence[np.ndarray]
    ) -> np.ndarray:
        """Return the dot products of rows as int64; the last block of a row may be shorter.

        Codes have shape (rows, length), codes of scales (rows, blocks).
        """
        length = codes.shape[-1]
        need = self.largest_sum(length)
        if need >= LARGEST_SUM:
            raise ValueError(f"sums of up to {need} don't fit in 64 bits; take shorter rows")
        found = self.block_sums(weight_codes, codes)
        check_scales(found, scale_codes)
        for fmt, scales in zip(self.scales, scale_codes, strict=True):
            found = found * _integers(fmt, scales)
        return np.asarray(found.sum(axis=-1))

    def block_sums(self, weight_codes: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return the unscaled sums of blocks, shape (rows, blocks), as int64."""
        rows, length = codes.shape
        end = length - length % self.block
        whole, rest = (slice(0, end), self.block), (slice(end, None), length - end)
        return np.concatenate(
            [
                exact_dots(
                    self.weights,
                    self.activations,
                    weight_codes[:, part].reshape(rows, -1, block),
                    codes[:, part].reshape(rows, -1, block),
                )
                for part, block in (whole, rest)
                if codes[:, part].size
            ],
            axis=-1,
        )

    def largest_sum(self, length: int) -> int:
        """Return the largest magnitude of a scaled sum of ``length`` elements."""
        of_elements = largest_sum(self.weights, self.activations, length)
        return prod(map(_largest, self.scales)) * of_elements

    def sum_bits(self, length: int) -> int:
        """Return the bits of a two's complement number that holds every sum.

        >>> from numerics import FORMATS
        >>> int4, int8, fp16 = (FORMATS[name] for name in ("int4", "int8", "fp16"))
        >>> mixpe = BlockScaled(weights=int4, activations=int8, scales=(fp16,), block=128)
        >>> mixpe.sum_bits(128), mixpe.sum_bits(512)
        (58, 60)
        """
        return self.largest_sum(length).bit_length() + 1


def check_scales(sums: np.ndarray, scale_codes: Sequence[np.ndarray]) -> None:
    """Raise ValueError unless every block sum has one code of each scale."""
    for scales in scale_codes:
        if scales.shape != sums.shape:
            raise ValueError(
                f"scales must have shape {sums.shape}, one for each block, not {scales.shape}"
            )


def _integers(fmt: Format, codes: np.ndarray) -> np.ndarray:
    """Return the values of codes in units of the format; NaN and infinities count as 0."""
    # JAX takes a second to import.
    import jax.numpy as jnp

    from numerics.arithmetic.cast import code_dtype, decode

    values = np.asarray(decode(fmt, jnp.asarray(codes, code_dtype(fmt))), np.float64)
    assert fmt.unit is not None
    return np.where(np.isfinite(values), values / fmt.unit, 0).astype(np.int64)


def _largest(fmt: Format) -> int:
    """Return the largest magnitude of a value in units."""
    if isinstance(fmt, FloatFormat):
        return integer_value(fmt, fmt.encode(fmt.max))
    return max(map(abs, integer_table(fmt)))
