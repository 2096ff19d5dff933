"""Tile and wave quantization: the share of a GPU's peak that whole tiles of a GEMM leave.

NVIDIA, "Matrix Multiplication Background" (DU-09799), sections 2.3 and 3: a multiprocessor computes
one tile of the output after another; rows and columns of a tile outside the output are wasted, and
in the last wave some multiprocessors are idle.
"""

import numpy as np

from roofline.workload.operator import Amount

#: Tokens and columns of a library's tiles, and the share of the peak that their loads allow: an
#: A100 computes 43 FP16 operations for each byte that its L2 cache delivers (5120 bytes a cycle,
#: NVIDIA's A100 whitepaper), and a tile of 64 x 64 needs one byte for 32 operations.
TILES = (
    (128, 128, 1.0),
    (64, 128, 0.98),
    (128, 64, 0.98),
    (64, 64, 0.74),
    (32, 64, 0.49),
    (32, 32, 0.37),
)


def tiled_share(tokens: Amount, outputs: Amount, multiprocessors: Amount) -> Amount:
    """Return the share of the peak that the best tiles reach; 1 if ``multiprocessors`` is inf.

    A library takes the tiles that finish first.

    >>> float(tiled_share(2048, 4096, 108)) == 512 / 540
    True
    """
    is_tiled = np.isfinite(multiprocessors) & np.isfinite(tokens)
    if not np.any(is_tiled):
        return 1.0
    units = np.where(is_tiled, multiprocessors, 1.0)
    shares = []
    for height, width, speed in TILES:
        tiles = np.ceil(tokens / height) * np.ceil(outputs / width)
        used = np.ceil(tiles / units) * units * height * width
        shares.append(speed * tokens * outputs / used)
    return np.where(is_tiled, np.maximum.reduce(shares), 1.0)
