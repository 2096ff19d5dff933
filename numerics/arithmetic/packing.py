"""Codes of 1 to 16 bits in bytes, in the two orders in use.

The codes form one bit stream with padding only in the last byte. In ``"low_first"`` order they fill
a byte from its least significant bit and continue in the low bits of the next byte: torch and
torchao store the first of two 4-bit codes in the low nibble. In ``"high_first"`` order they fill a
byte from its most significant bit: bitsandbytes stores the first code in the high nibble.
"""

from typing import Literal

import numpy as np
from jaxtyping import UInt8, UInt16

Order = Literal["low_first", "high_first"]

#: Codes packed as one word: eight codes of n bits fill n whole bytes.
CODES_AT_ONCE = 8


def pack(
    codes: UInt8[np.ndarray, "..."] | UInt16[np.ndarray, "..."],
    *,
    bits: int,
    order: Order = "low_first",
) -> UInt8[np.ndarray, " bytes"]:
    """Return the codes of an array of any shape, last axis first, as bytes.

    Examples
    --------
    >>> codes = np.array([0x1, 0xA, 0x7], np.uint8)
    >>> pack(codes, bits=4).tobytes().hex(), pack(codes, bits=4, order="high_first").tobytes().hex()
    ('a107', '1a70')
    """
    _check_bits(bits)
    flat = np.asarray(codes).reshape(-1)
    if flat.size and int(flat.max()) >> bits:
        raise ValueError(f"code {int(flat.max())} does not fit in {bits} bits")
    if bits > 8:
        return _pack_wide(flat.astype(np.uint16), bits, order)
    if bits == 8:
        return flat.astype(np.uint8)
    rows = _padded(flat, CODES_AT_ONCE).reshape(-1, CODES_AT_ONCE)
    words = np.zeros(len(rows), np.uint64)
    for column, shift in zip(rows.T, _shifts(bits, order), strict=True):
        words |= column.astype(np.uint64) << np.uint64(shift)
    return _word_bytes(words, bits, order).reshape(-1)[: packed_bytes(flat.size, bits)].copy()


def unpack(
    packed: UInt8[np.ndarray, " bytes"], *, bits: int, count: int, order: Order = "low_first"
) -> UInt8[np.ndarray, " count"] | UInt16[np.ndarray, " count"]:
    """Return the first ``count`` codes of the bytes from :func:`pack`; uint16 above 8 bits.

    Examples
    --------
    >>> unpack(np.array([0xA1, 0x07], np.uint8), bits=4, count=3).tolist()
    [1, 10, 7]
    """
    _check_bits(bits)
    if packed.size != packed_bytes(count, bits):
        raise ValueError(
            f"{count} codes of {bits} bits take {packed_bytes(count, bits)} bytes, "
            f"not {packed.size}"
        )
    if bits > 8:
        return _unpack_wide(packed, bits, count, order)
    if bits == 8:
        return packed.copy()
    words = _from_word_bytes(_padded(packed, bits).reshape(-1, bits), order)
    codes = np.empty((len(words), CODES_AT_ONCE), np.uint8)
    for column, shift in enumerate(_shifts(bits, order)):
        codes[:, column] = (words >> np.uint64(shift)) & np.uint64((1 << bits) - 1)
    return codes.reshape(-1)[:count]


def packed_bytes(count: int, bits: int) -> int:
    """Return the number of bytes of ``count`` packed codes.

    >>> packed_bytes(3, 4), packed_bytes(8, 3)
    (2, 3)
    """
    return -(-count * bits // 8)


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= 16:
        raise ValueError(f"codes have 1 to 16 bits, not {bits}")


def _pack_wide(codes: UInt16[np.ndarray, " n"], bits: int, order: Order) -> np.ndarray:
    """Pack codes of 9 to 16 bits by writing out every bit."""
    if order == "low_first":
        lanes = np.unpackbits(codes.astype("<u2").view(np.uint8), bitorder="little")
        return np.packbits(lanes.reshape(-1, 16)[:, :bits], bitorder="little")
    lanes = np.unpackbits(codes.astype(">u2").view(np.uint8))
    return np.packbits(lanes.reshape(-1, 16)[:, 16 - bits :])


def _unpack_wide(packed: np.ndarray, bits: int, count: int, order: Order) -> np.ndarray:
    if order == "low_first":
        rows = np.unpackbits(packed, count=count * bits, bitorder="little").reshape(count, bits)
        wide = np.packbits(np.pad(rows, ((0, 0), (0, 16 - bits))), bitorder="little")
        return wide.view("<u2").astype(np.uint16)
    rows = np.unpackbits(packed, count=count * bits).reshape(count, bits)
    wide = np.packbits(np.pad(rows, ((0, 0), (16 - bits, 0))))
    return wide.view(">u2").astype(np.uint16)


def _shifts(bits: int, order: Order) -> list[int]:
    """Return the bit offset of each of eight codes in their word."""
    places = range(CODES_AT_ONCE)
    return [bits * place for place in (places if order == "low_first" else reversed(places))]


def _padded(x: UInt8[np.ndarray, " n"], multiple: int) -> UInt8[np.ndarray, " padded"]:
    return np.pad(x, (0, -x.size % multiple))


def _word_bytes(words: np.ndarray, bits: int, order: Order) -> UInt8[np.ndarray, "words bytes"]:
    """Return the ``bits`` bytes that a word of eight codes fills."""
    if order == "low_first":
        return words.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :bits]
    return words.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - bits :]


def _from_word_bytes(rows: UInt8[np.ndarray, "words bytes"], order: Order) -> np.ndarray:
    padding = 8 - rows.shape[1]
    if order == "low_first":
        return np.pad(rows, ((0, 0), (0, padding))).view("<u8").reshape(-1)
    return np.pad(rows, ((0, 0), (padding, 0))).view(">u8").reshape(-1).astype(np.uint64)
