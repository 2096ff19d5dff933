"""Codes as bit planes, so that a lower precision reads only the first planes.

Source: the kernels of Any-Precision LLM, arXiv:2402.10517, section 4.2, and its code.
"""

import numpy as np
from jaxtyping import Int, UInt8, UInt32

PARENT_BITS = 8
WORD_BITS = 32
#: Number of codes in a chunk, whose words are stored together.
CHUNK = 1024


def pack(codes: UInt8[np.ndarray, "rows n"]) -> UInt32[np.ndarray, "8 rows words"]:
    """Return the planes of 8-bit codes, upper bits first.

    Word ``t`` of a chunk of ``32 T`` codes (1024, or the rest of a row) holds the codes ``8 t`` to
    ``8 t + 7`` in its upper byte, then the codes ``8 T``, ``16 T`` and ``24 T`` positions later;
    the first code of a byte is its upper bit.

    Examples
    --------
    >>> planes = pack(np.full((1, 32), 0x81, np.uint8))
    >>> [f"{int(word):X}" for word in planes[:, 0, 0]]
    ['FFFFFFFF', '0', '0', '0', '0', '0', '0', 'FFFFFFFF']
    """
    order = _order(codes.shape[1])
    bits = np.unpackbits(codes[:, order, None], axis=2)
    packed = np.packbits(np.moveaxis(bits, 2, 0), axis=2)
    words: np.ndarray = np.ascontiguousarray(packed).view(">u4").astype(np.uint32)
    return words


def unpack(
    planes: UInt32[np.ndarray, "bits rows words"],
) -> UInt8[np.ndarray, "rows n"]:
    """Return codes with one bit for each given plane.

    Examples
    --------
    >>> codes = np.arange(64, dtype=np.uint8).reshape(2, 32) * 4
    >>> bool((unpack(pack(codes)[:3]) == codes >> 5).all())
    True
    """
    count, rows, words = planes.shape
    bits = np.unpackbits(np.ascontiguousarray(planes.astype(">u4")).view(np.uint8), axis=2)
    weights = 1 << np.arange(count)[::-1]
    codes = np.empty((rows, words * WORD_BITS), np.uint8)
    codes[:, _order(codes.shape[1])] = (bits * weights[:, None, None]).sum(axis=0)
    return codes


def _order(length: int) -> Int[np.ndarray, " length"]:
    """Return the indices of a row's codes in the order in which their bits are stored."""
    if length % WORD_BITS:
        raise ValueError(f"bit planes need rows of a multiple of {WORD_BITS} codes, not {length}")
    chunks = [
        np.arange(start, min(start + CHUNK, length)).reshape(4, -1, 8).swapaxes(0, 1).ravel()
        for start in range(0, length, CHUNK)
    ]
    return np.concatenate(chunks)
