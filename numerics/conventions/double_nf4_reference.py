"""Scalar definition of double quantization, with the float32 operations of bitsandbytes."""

import math
from collections.abc import Sequence

import numpy as np

from numerics.arithmetic.float32 import MAX_FLOAT32, MIN_NORMAL
from numerics.conventions.double_nf4 import SCALES_PER_BLOCK, dynamic_map
from numerics.conventions.nvfp4_reference import flush, flushed
from numerics.formats import NF4, TableFormat
from numerics.ternary.reference import tree_sum

Float = np.float32


def quantize_block(values: Sequence[float], table: TableFormat) -> tuple[list[int], Float]:
    """Return the codes of a block divided by its largest magnitude, and that magnitude.

    >>> codes, amax = quantize_block([2.0, -1.0, 0.0], NF4)
    >>> [round(NF4.decode(code), 3) for code in codes], amax
    ([1.0, -0.525, 0.0], np.float32(2.0))
    """
    x = flushed(values)
    amax = max(abs(v) for v in x)
    reciprocal = max(Float(1) / max(amax, Float(MIN_NORMAL)), Float(MIN_NORMAL))
    return [table.encode(float(np.clip(flush(v * reciprocal), -1, 1))) for v in x], amax


def quantize_scales(amaxes: Sequence[Float]) -> tuple[list[int], list[Float], Float]:
    """Return the codes of scales, the scale of each 256 scales, and the offset.

    >>> codes, scales, offset = quantize_scales([np.float32(1), np.float32(3)])
    >>> [dynamic_map().decode(code) for code in codes], scales, offset
    ([-0.992968738079071, 1.0], [np.float32(1.0)], np.float32(2.0))
    """
    mean = min(tree_sum(amaxes) / Float(len(amaxes)), Float(MAX_FLOAT32))
    codes: list[int] = []
    scales: list[Float] = []
    for start in range(0, len(amaxes), SCALES_PER_BLOCK):
        differences = [float(v - mean) for v in amaxes[start : start + SCALES_PER_BLOCK]]
        block, scale = quantize_block(differences, dynamic_map())
        codes += block
        scales.append(scale)
    return codes, scales, mean


def quantize_blocks(
    blocks: Sequence[Sequence[float]],
) -> tuple[list[list[int]], list[int], list[Float], Float]:
    """Return the codes of each block, and the result of :func:`quantize_scales` for all blocks."""
    if not all(math.isfinite(v) for block in blocks for v in block):
        count = -(-len(blocks) // SCALES_PER_BLOCK)
        nan = Float(np.nan)
        return [[0] * len(block) for block in blocks], [0] * len(blocks), [nan] * count, nan
    codes, amaxes = zip(*(quantize_block(block, NF4) for block in blocks), strict=True)
    return list(codes), *quantize_scales(amaxes)


def scale_of(code: int, scale: Float, offset: Float) -> Float:
    """Return the scale of a block: ``map(code) * scale + offset``, each operation rounded.

    >>> scale_of(255, np.float32(1), np.float32(2))
    np.float32(3.0)
    """
    return flush(flush(Float(dynamic_map().decode(code)) * scale) + offset)
