"""NVFP4 of libraries: scalar definition, and where the libraries disagree."""

import numpy as np
import pytest

from numerics import quantize
from numerics.conventions.nvfp4 import BLOCK, Library, Nvfp4
from numerics.conventions.nvfp4_reference import find_top_scale, quantize_block

SHAPE = (8, 72)


def tensors() -> list[np.ndarray]:
    """Tensors of one shape, so that each scheme is compiled once."""
    rng = np.random.default_rng(9)
    normal = rng.standard_normal(SHAPE)
    tail = normal * 2.0 ** -rng.integers(0, 17, (*SHAPE[:1], SHAPE[1] // 8)).repeat(8, axis=1)
    found = [normal, tail, np.where(np.arange(72) < 20, 0, normal), np.zeros(SHAPE)]
    found += [rng.choice([6, 5, 3.5, 2.5, 1.75, 1.25, 0.75, 0.25], SHAPE) * np.sign(normal)]
    found += [np.float32(normal).view(np.uint32) // 65536 * 65536, -np.zeros(SHAPE)]
    found[5] = found[5].astype(np.uint32).view(np.float32)
    found += [normal * scale for scale in (2.0**-128, 2.0**-105, 2.0**-112, 2.0**-117, 2.0**125)]
    found += [np.where(np.arange(72) == 3, 3e38, normal), np.where(normal < 0, -1e-12, normal)]
    for value in (np.nan, np.inf, -np.inf):
        found.append(np.where((np.arange(72) == 40) & (normal == normal[2, 40]), value, normal))
    return [x.astype(np.float32) for x in found]


def bits(x) -> np.ndarray:
    x = np.asarray(x)
    return np.where(np.isnan(x), np.uint32(0x7FC00000), x.view(np.uint32))


@pytest.mark.parametrize("library", Library)
def test_arrays_are_the_definition(library):
    scheme = Nvfp4(library=library)
    for x in tensors():
        q = quantize(x, scheme)
        top = find_top_scale(x.ravel().tolist(), library)
        assert bits(q.arrays[scheme.layout(SHAPE)[-1].name]) == bits(top)
        values, scales = np.asarray(q.dequantize()), np.asarray(q.scales).view(np.uint8)
        for row in range(SHAPE[0]):
            for block, start in enumerate(range(0, SHAPE[1], BLOCK)):
                part = (row, slice(start, start + BLOCK))
                codes, scale, wanted = quantize_block(x[part].tolist(), top, library)
                assert scales[row, block] == scale
                assert np.asarray(q.codes)[part].tolist() == codes
                assert np.array_equal(bits(values[part]), bits(np.float32(wanted)))
