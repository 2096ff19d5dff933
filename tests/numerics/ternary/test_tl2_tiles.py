"""The order of TL2 magnitudes in bitnet.cpp's x86 kernel."""

import numpy as np
import pytest

from numerics.ternary.packings import pack_tl2
from numerics.ternary.tl2_tiles import tile, untile


def by_loops(magnitudes, block_rows, block_width):
    rows, sixths = magnitudes.shape
    wide = block_width // 6
    return [
        magnitudes[top + line + 8 * chunk + row, left + piece]
        for top in range(0, rows, block_rows)
        for left in range(0, sixths, wide)
        for line in range(0, block_rows, 32)
        for piece in range(wide)
        for chunk in (0, 2, 1, 3)
        for row in range(8)
    ]


@pytest.mark.parametrize(("block_rows", "block_width"), [(32, 96), (64, 192), (128, 96)])
def test_bytes_lie_as_the_kernel_reads_them_and_come_back(block_rows, block_width):
    trits = np.random.default_rng(0).integers(-1, 2, (128, 576)).astype(np.int8)
    magnitudes, _ = pack_tl2(trits)
    stored = tile(magnitudes, block_rows=block_rows, block_width=block_width)
    assert stored.tolist() == by_loops(magnitudes, block_rows, block_width)
    shape = magnitudes.shape
    back = untile(stored, shape, block_rows=block_rows, block_width=block_width)
    assert np.array_equal(back, magnitudes)


def test_blocks_that_do_not_fit_are_refused():
    magnitudes = np.zeros((64, 32), np.uint8)
    with pytest.raises(ValueError, match=r"^TL2 has blocks of a multiple of 32 rows .* not of 48$"):
        tile(magnitudes, block_rows=48)
    with pytest.raises(ValueError, match=r"weights that divides 192, not of 90$"):
        tile(magnitudes, block_rows=32, block_width=90)
