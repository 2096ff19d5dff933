"""What a GPU's products lose as whole tiles go to its multiprocessors in turn.

NVIDIA, "Matrix Multiplication Background" (DU-09799), sections 2.3 and 3: a multiprocessor computes
one tile of the outputs after the other; edges of tiles are computed for nothing, and in the last
wave of tiles some multiprocessors rest.
"""

import numpy as np

from roofline.workload.operator import Amount

#: Tokens and columns of the tiles of a library's products, and the share of the peak that their
#: loads let them have: an A100 computes 43 operations in FP16 for each byte that its second cache
#: gives (5120 bytes a cycle, NVIDIA's A100 whitepaper), a tile of 64 x 64 needs one byte for 32.
TILES = (
    (128, 128, 1.0),
    (64, 128, 0.98),
    (128, 64, 0.98),
    (64, 64, 0.74),
    (32, 64, 0.49),
    (32, 32, 0.37),
)


def tiled_share(tokens: Amount, outputs: Amount, multiprocessors: Amount) -> Amount:
    """Return the share of the peak that is left; all of it where the multiprocessors are infinite.

    Of the usual tiles a library takes those that are done first.

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
