"""Group sums of BitMoD's PE, of NumPy arrays of codes."""

import numpy as np
from jaxtyping import Int64, Integer

from numerics.pe.aligned import AlignedDot
from numerics.pe.aligned_limits import check_bits

#: Number of rows of codes computed at once.
BLOCK = 1 << 16


def aligned_dots(
    pe: AlignedDot,
    weight_codes: Integer[np.ndarray, "*rows k"],
    codes: Integer[np.ndarray, "*rows k"],
) -> tuple[Int64[np.ndarray, "*rows"], Int64[np.ndarray, "*rows"]]:
    """Return mantissas and exponents of the accumulators after each group of rows of codes."""
    length = codes.shape[-1]
    pe.check(length)
    check_bits(pe)
    weights, activations = weight_codes.reshape(-1, length), codes.reshape(-1, length)
    # JAX takes a second to import.
    from numerics.pe.aligned_arrays import group_sums

    found = np.empty((2, len(weights)), np.int64)
    for start in range(0, found.shape[1], BLOCK):
        rows = slice(start, start + BLOCK)
        found[:, rows] = group_sums(
            pe, weights[rows].astype(np.uint8), activations[rows].astype(np.uint16)
        )
    mantissas, exponents = found.reshape(2, *codes.shape[:-1])
    return mantissas, exponents
