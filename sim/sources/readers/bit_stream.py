"""Rows of codes as bit streams in bytes: the first code in the low bits, codes across bytes."""

import numpy as np
from jaxtyping import Shaped, UInt8

#: Bits of a word of the streams that pad words instead of splitting codes.
WORD = 32


def word_bytes(words: Shaped[np.ndarray, "rows words"]) -> UInt8[np.ndarray, "rows bytes"]:
    """Return the bytes of rows of words, little-endian.

    >>> word_bytes(np.array([[-2, 1]], np.int32)).tolist()
    [[254, 255, 255, 255, 1, 0, 0, 0]]
    """
    little = np.ascontiguousarray(words, words.dtype.newbyteorder("<"))
    return little.view(np.uint8).reshape(len(words), -1)


def unpack_rows(
    stream: UInt8[np.ndarray, "rows bytes"], bits: int, count: int
) -> UInt8[np.ndarray, "rows count"]:
    """Return the first ``count`` codes of each row of a dense stream of 1 to 8 bits a code.

    Examples
    --------
    >>> unpack_rows(np.array([[0x21, 0x43]], np.uint8), 4, 3).tolist()
    [[1, 2, 3]]
    >>> unpack_rows(np.array([[0b_10_001_000, 0b_1_100_011_0]], np.uint8), 3, 5).tolist()
    [[0, 1, 2, 3, 4]]
    """
    if bits == 8:
        return stream[:, :count]
    if 8 % bits == 0:
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        codes = (stream[:, :, None] >> shifts) & np.uint8((1 << bits) - 1)
        return codes.reshape(len(stream), -1)[:, :count]
    codes = np.empty((len(stream), count), np.uint8)
    for place in range(min(8, count)):  # eight codes fill whole bytes
        byte, shift = divmod(place * bits, 8)
        column = codes[:, place::8]
        low = stream[:, byte::bits][:, : column.shape[1]] >> np.uint8(shift)
        if shift + bits > 8:
            high = stream[:, byte + 1 :: bits][:, : column.shape[1]]
            low = low | (high << np.uint8(8 - shift))
        column[...] = low & np.uint8((1 << bits) - 1)
    return codes


def pack_rows(codes: UInt8[np.ndarray, "rows count"], bits: int) -> UInt8[np.ndarray, "rows bytes"]:
    """Return the dense stream of each row, padded with zeros to whole words of 32 bits.

    >>> pack_rows(np.array([[1, 2, 3]], np.uint8), 4).tolist()
    [[33, 3, 0, 0]]
    """
    rows, count = codes.shape
    words = -(-count * bits // WORD)
    lanes = np.unpackbits(codes[:, :, None], axis=2, count=bits, bitorder="little")
    stream = np.zeros((rows, words * WORD), np.uint8)
    stream[:, : count * bits] = lanes.reshape(rows, -1)
    return np.packbits(stream, axis=1, bitorder="little")


def unpack_words(
    words: Shaped[np.ndarray, "rows words"], bits: int, count: int
) -> UInt8[np.ndarray, "rows count"]:
    """Return codes of words that hold ``32 // bits`` whole codes each, their top bits unused.

    >>> unpack_words(np.array([[0o7654321076543210 & 0x3FFFFFFF, 0o1]], np.uint32), 3, 11).tolist()
    [[0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 1]]
    """
    per_word = WORD // bits
    shifts = np.arange(per_word, dtype=np.uint32) * np.uint32(bits)
    unsigned = words.view(np.uint32)[:, :, None]
    codes = ((unsigned >> shifts) & np.uint32((1 << bits) - 1)).astype(np.uint8)
    return codes.reshape(len(words), -1)[:, :count]


def dense_words(count: int, bits: int) -> int:
    """Return the words of a dense stream of ``count`` codes."""
    return -(-count * bits // WORD)


def aligned_words(count: int, bits: int) -> int:
    """Return the words of ``count`` codes that are not split over words."""
    return -(-count // (WORD // bits))
