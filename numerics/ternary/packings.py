"""The packed ternary formats of bitnet.cpp: I2_S, TL1 and TL2.

Weights are integers -1, 0 and 1. Source: bitnet.cpp, arXiv:2502.11880, section 3, and its code.
"""

from typing import Literal

import numpy as np
from jaxtyping import Int8, UInt8, UInt16

Isa = Literal["x86", "neon"]
#: Bytes of an I2_S block, and distance in weights between the four weights of a byte.
I2_S_STRIDES = {"x86": 32, "neon": 16}
#: Bytes after the codes of I2_S; the first four are the float32 scale.
I2_S_TAIL = 32
#: Rows of a TL1 line whose codes are adjacent in the file.
TL1_ROWS = 16
#: Weights in a row of TL2 are a multiple of this.
TL2_WIDTH = 96


def pack_i2_s(
    trits: Int8[np.ndarray, " n"], scale: float, *, isa: Isa
) -> UInt8[np.ndarray, " bytes"]:
    """Return codes ``trit + 1``, first weights in the high bits, then the float32 scale.

    The order depends on the machine that wrote the file: blocks of 128 weights on x86, of 64 on
    ARM.

    >>> pack_i2_s(np.resize(np.int8([-1, 0, 1]), 64), 0.25, isa="neon")[:6].tobytes().hex()
    '186186186186'
    """
    stride = I2_S_STRIDES[isa]
    _check_multiple(trits.size, 4 * stride, f"I2_S on {isa}")
    codes = _codes(trits).reshape(-1, 4, stride)
    packed = codes[:, 0] << 6 | codes[:, 1] << 4 | codes[:, 2] << 2 | codes[:, 3]
    tail = np.zeros(I2_S_TAIL, np.uint8)
    tail[:4] = np.array([scale], "<f4").view(np.uint8)
    return np.concatenate([packed.reshape(-1), tail])


def unpack_i2_s(
    packed: UInt8[np.ndarray, " bytes"], *, isa: Isa
) -> tuple[Int8[np.ndarray, " n"], float]:
    """Return the weights and the scale that :func:`pack_i2_s` packed."""
    stride = I2_S_STRIDES[isa]
    _check_multiple(packed.size - I2_S_TAIL, stride, f"packed I2_S on {isa}, less its tail,")
    rows, tail = packed[:-I2_S_TAIL].reshape(-1, 1, stride), packed[-I2_S_TAIL:]
    codes = rows >> np.array([6, 4, 2, 0], np.uint8)[:, None] & np.uint8(3)
    scale = float(tail[:4].copy().view("<f4")[0])
    return (codes.astype(np.int8) - np.int8(1)).reshape(-1), scale


def pack_tl1(
    trits: Int8[np.ndarray, "m k"], *, block_rows: int, block_width: int, line_rows: int
) -> UInt8[np.ndarray, " bytes"]:
    """Return the indices ``3 * t0 + t1 + 4`` of pairs along a row, two per byte, high one first.

    The file nests, from the outside in: blocks of ``block_rows`` by ``block_width`` weights, lines
    of ``line_rows`` rows, pieces of ``256 / line_rows`` weights, and 16 rows of four weights each,
    row by row.
    """
    tiles = _tl1_tiles(trits.shape, block_rows, block_width, line_rows)
    pairs = trits.reshape(tiles).transpose(TL1_ORDER)
    index = (3 * pairs[..., 0::2] + pairs[..., 1::2] + 4).astype(np.uint8)
    _codes(trits)
    packed: np.ndarray = index[..., 0] << 4 | index[..., 1]
    return packed.reshape(-1)


def unpack_tl1(
    packed: UInt8[np.ndarray, " bytes"],
    shape: tuple[int, int],
    *,
    block_rows: int,
    block_width: int,
    line_rows: int,
) -> Int8[np.ndarray, "m k"]:
    """Return the weights that :func:`pack_tl1` packed."""
    tiles = _tl1_tiles(shape, block_rows, block_width, line_rows)
    index = np.stack([packed >> 4, packed & 15], axis=-1).astype(np.int8)
    weights = np.stack([index // 3 - 1, index % 3 - 1], axis=-1).astype(np.int8)
    stored = weights.reshape([tiles[axis] for axis in TL1_ORDER])
    return stored.transpose(np.argsort(TL1_ORDER)).reshape(shape)


#: Axes of :func:`_tl1_tiles` from the outermost to the innermost in the file.
TL1_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)


def _tl1_tiles(
    shape: tuple[int, ...], block_rows: int, block_width: int, line_rows: int
) -> tuple[int, ...]:
    """Return the sizes of the axes into which rows (four) and columns (four) are split.

    Rows: blocks, lines, sets of 16 rows, rows. Columns: blocks, pieces, sets of four, weights.
    """
    rows, width = shape
    piece = 256 // line_rows
    _check_multiple(rows, block_rows, "TL1 along rows")
    _check_multiple(width, block_width, "TL1 along a row")
    _check_multiple(block_rows, line_rows, "a TL1 block")
    _check_multiple(line_rows, TL1_ROWS, "a TL1 line")
    _check_multiple(block_width, piece, "a TL1 block along a row")
    of_rows = (rows // block_rows, block_rows // line_rows, line_rows // TL1_ROWS, TL1_ROWS)
    return (*of_rows, width // block_width, block_width // piece, piece // 4, 4)


def pack_tl2(
    trits: Int8[np.ndarray, "m k"],
) -> tuple[UInt8[np.ndarray, "m sixths"], UInt16[np.ndarray, "m words"]]:
    """Return magnitudes and signs of ``9 * t0 + 3 * t1 + t2``, triples along a row.

    A byte holds two 4-bit magnitudes, the first one high; a word holds 16 signs, the first in the
    highest bit, 1 for a negative number. Rows are kept in order;
    :func:`numerics.ternary.tl2_tiles.tile` reorders the magnitudes for the kernel.
    """
    rows, width = trits.shape
    _check_multiple(width, TL2_WIDTH, "TL2 along a row")
    _codes(trits)
    triples = trits.reshape(rows, -1, 3).astype(np.int8)
    number = 9 * triples[..., 0] + 3 * triples[..., 1] + triples[..., 2]
    magnitude = np.abs(number).astype(np.uint8)
    signs = np.packbits(number < 0, axis=-1).reshape(rows, -1, 2)
    return magnitude[:, 0::2] << 4 | magnitude[:, 1::2], signs.view(">u2")[..., 0].astype(np.uint16)


def unpack_tl2(
    magnitudes: UInt8[np.ndarray, "m sixths"], signs: UInt16[np.ndarray, "m words"]
) -> Int8[np.ndarray, "m k"]:
    """Return the weights that :func:`pack_tl2` packed."""
    rows = len(magnitudes)
    magnitude = np.stack([magnitudes >> 4, magnitudes & 15], axis=-1).reshape(rows, -1)
    words = signs.astype(">u2")[..., None].view(np.uint8).reshape(rows, -1)
    is_negative = np.unpackbits(words, axis=-1, count=magnitude.shape[1]).astype(bool)
    number = np.where(is_negative, -magnitude.astype(np.int8), magnitude.astype(np.int8)) + 13
    digits = [number // 9 - 1, number // 3 % 3 - 1, number % 3 - 1]
    return np.stack(digits, axis=-1).astype(np.int8).reshape(rows, -1)


def tl2_bits_per_weight(rows: int, width: int, *, allocated: bool = False) -> float:
    """Return the bits per weight of a matrix whose columns after a multiple of 96 are in TL1.

    ``allocated`` counts the buffer of bitnet.cpp: ``(k - 256) * m * 5 / 24 + 256 * m / 4`` bytes.

    >>> round(tl2_bits_per_weight(14336, 4096), 4), tl2_bits_per_weight(1536, 1536)
    (1.6719, 1.6666666666666667)
    """
    if allocated:
        return 8 * ((width - 256) * rows * 5 / 24 + 256 * rows / 4) / (rows * width)
    in_tl2 = width // TL2_WIDTH * TL2_WIDTH
    return (in_tl2 * 5 / 3 + (width - in_tl2) * 2) / width


def tl1_table(b0: int, b1: int) -> list[int]:
    """Return the table of ``t0 * b0 + t1 * b1``, indexed by the code of a pair.

    >>> tl1_table(3, -5)
    [2, -3, -8, 5, 0, -5, 8, 3, -2]
    """
    return [t0 * b0 + t1 * b1 for t0 in (-1, 0, 1) for t1 in (-1, 0, 1)]


def tl2_table(b0: int, b1: int, b2: int) -> list[int]:
    """Return the table of ``t0 * b0 + t1 * b1 + t2 * b2``, indexed by the magnitude of a triple.

    >>> tl2_table(3, -5, 7)
    [0, 7, -12, -5, 2, 1, 8, 15, -4, 3, 10, -9, -2, 5]
    """
    trits = (-1, 0, 1)
    sums = [t0 * b0 + t1 * b1 + t2 * b2 for t0 in trits for t1 in trits for t2 in trits]
    return sums[13:]


def _codes(trits: Int8[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    if trits.size and np.abs(trits).max() > 1:
        raise ValueError("ternary weights are -1, 0 and 1")
    return (trits + 1).astype(np.uint8)


def _check_multiple(size: int, multiple: int, what: str) -> None:
    if size < 0 or size % multiple:
        raise ValueError(f"{what} packs multiples of {multiple}, not {size}")
