"""The order in which bitnet.cpp's x86 kernel reads the magnitudes of TL2.

Source: bitnet.cpp, arXiv:2502.11880, and its code. The kernel's order of signs is not modelled.
"""

import numpy as np
from jaxtyping import UInt8

#: Rows of a line, and the order in which ``vpunpck`` leaves its four chunks of eight rows.
LINE_ROWS, CHUNK_ORDER = 32, (0, 2, 1, 3)
#: Weights in a byte: two triples.
BYTE_WEIGHTS = 6

Magnitudes = UInt8[np.ndarray, "m sixths"]


def tile(
    magnitudes: Magnitudes, *, block_rows: int, block_width: int = 96
) -> UInt8[np.ndarray, " bytes"]:
    """Return the bytes of :func:`numerics.ternary.packings.pack_tl2` in the kernel's order.

    The order nests, from the outside in: blocks of ``block_rows`` by ``block_width`` weights, lines
    of 32 rows, pieces of six weights (one byte), and the rows of a line, in chunks of eight rows in
    the order 0, 2, 1, 3.
    """
    tiles = _tiles(magnitudes.shape, block_rows, block_width)
    chunks = magnitudes.reshape(tiles)[:, :, list(CHUNK_ORDER)]
    return chunks.transpose(0, 4, 1, 5, 2, 3).reshape(-1)


def untile(
    stored: UInt8[np.ndarray, " bytes"],
    shape: tuple[int, int],
    *,
    block_rows: int,
    block_width: int = 96,
) -> Magnitudes:
    """Invert :func:`tile`; ``shape`` is (rows, bytes per row) of the result."""
    blocks, lines, chunks, rows, wide, pieces = _tiles(shape, block_rows, block_width)
    ordered = stored.reshape(blocks, wide, lines, pieces, chunks, rows).transpose(0, 2, 4, 5, 1, 3)
    return ordered[:, :, np.argsort(CHUNK_ORDER)].reshape(shape)


def _tiles(shape: tuple[int, ...], block_rows: int, block_width: int) -> tuple[int, ...]:
    """Return the axis sizes: blocks, lines, chunks, rows, then blocks and pieces of bytes."""
    rows, width = shape[0], shape[1] * BYTE_WEIGHTS
    if block_rows < 1 or block_rows % LINE_ROWS or rows % block_rows:
        raise ValueError(
            f"TL2 has blocks of a multiple of {LINE_ROWS} rows that divides {rows}, "
            f"not of {block_rows}"
        )
    if block_width < 1 or block_width % BYTE_WEIGHTS or width % block_width:
        raise ValueError(
            f"TL2 has blocks of a multiple of {BYTE_WEIGHTS} weights that divides {width}, "
            f"not of {block_width}"
        )
    lines, chunk = block_rows // LINE_ROWS, LINE_ROWS // len(CHUNK_ORDER)
    return (
        rows // block_rows,
        lines,
        len(CHUNK_ORDER),
        chunk,
        width // block_width,
        block_width // BYTE_WEIGHTS,
    )
