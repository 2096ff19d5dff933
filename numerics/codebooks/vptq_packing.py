"""The bit streams of indices in VPTQ's files.

Source: the code of VPTQ, arXiv:2409.17066 (``main`` branch). Its reader fails for residuals wider
than indices and for streams shorter than half a word; this one reads both.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt32

WORD_BITS = 32


def pack_indices(
    indices: Sequence[int],
    *,
    bits: int,
    residuals: Sequence[int] | None = None,
    residual_bits: int = 0,
) -> UInt32[np.ndarray, " words"]:
    """Return the indices of a row as words: fields ``residual << bits | index``, low bits first.

    Zeros pad the last word. Raises :class:`ValueError` for numbers that don't fit in their bits.

    >>> [f"{word:08X}" for word in pack_indices([1, 2, 3, 4095], bits=12)]
    ['03002001', '0000FFF0']
    """
    _check(bits, residual_bits)
    index = _numbers(indices, bits, "index")
    rest = _numbers([0] * len(index) if residuals is None else residuals, residual_bits, "residual")
    if len(rest) != len(index):
        raise ValueError(f"{len(index)} indices need as many residuals, not {len(rest)}")
    rows = (rest << np.uint64(bits) | index).astype("<u8").view(np.uint8).reshape(-1, 8)
    lanes = np.unpackbits(rows, axis=1, bitorder="little")[:, : bits + residual_bits].reshape(-1)
    filled = np.pad(lanes, (0, -lanes.size % WORD_BITS))
    return np.packbits(filled, bitorder="little").view("<u4").astype(np.uint32)


def unpack_indices(
    words: UInt32[np.ndarray, " words"], *, bits: int, residual_bits: int = 0, count: int
) -> tuple[UInt32[np.ndarray, " count"], UInt32[np.ndarray, " count"]]:
    """Return the first ``count`` indices and residuals stored in words.

    >>> words = pack_indices([7], bits=3, residuals=[300], residual_bits=12)
    >>> [part.tolist() for part in unpack_indices(words, bits=3, residual_bits=12, count=1)]
    [[7], [300]]
    """
    _check(bits, residual_bits)
    total = bits + residual_bits
    needed = -(-count * total // WORD_BITS)
    if len(words) != needed:
        raise ValueError(f"{count} indices of {total} bits take {needed} words, not {len(words)}")
    stream = np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little")
    lanes = np.pad(stream[: count * total].reshape(count, total), ((0, 0), (0, 64 - total)))
    numbers = np.packbits(lanes, axis=1, bitorder="little").view("<u8")[:, 0]
    mask = np.uint64((1 << bits) - 1)
    return (numbers & mask).astype(np.uint32), (numbers >> np.uint64(bits)).astype(np.uint32)


def _check(bits: int, residual_bits: int) -> None:
    if bits < 1 or residual_bits < 0 or bits + residual_bits > WORD_BITS:
        raise ValueError(
            f"an index of 1 bit or more and its residual have up to {WORD_BITS} bits, "
            f"not {bits} and {residual_bits}"
        )


def _numbers(given: Sequence[int], bits: int, what: str) -> np.ndarray:
    numbers = np.asarray(given, np.int64)
    if numbers.size and not (numbers.min() >= 0 and numbers.max() < 1 << bits):
        worst = next(n for n in numbers.tolist() if not 0 <= n < 1 << bits)
        raise ValueError(f"{what} {worst} does not fit in {bits} bits")
    return numbers.astype(np.uint64)
