"""Bits of many streams packed into 64-bit words, so that one operation evaluates 64 streams."""

import numpy as np

WORD_BITS = 64


def pack(bits: np.ndarray) -> np.ndarray:
    """Return boolean bits, shape (net, stream), as words, shape (net, word); the rest is zero.

    >>> pack(np.array([[True, False, True]])).tolist()
    [[5]]
    """
    nets, streams = bits.shape
    padded = np.zeros((nets, -(-streams // WORD_BITS) * WORD_BITS), bool)
    padded[:, :streams] = bits
    return np.packbits(padded, axis=1, bitorder="little").view("<u8")


def unpack(words: np.ndarray, streams: int) -> np.ndarray:
    """Return words, shape (net, word), as boolean bits, shape (net, stream).

    >>> unpack(pack(np.array([[True, False, True]])), 3).tolist()
    [[True, False, True]]
    """
    found = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")
    return found[:, :streams].astype(bool)


def ones(words: np.ndarray) -> np.ndarray:
    """Return the number of ones of every net."""
    return np.asarray(np.bitwise_count(words).sum(axis=1, dtype=np.int64))
