"""FP8 weights with a scale for each block of rows and columns, as in DeepSeek-V3."""

from functools import partial
from typing import Any

import numpy as np

from numerics.formats import constants as c
from numerics.schemes.granularity import PerGroup
from sim.sources.readers.grid import Grid
from sim.sources.readers.layer import Arrays, Layer, Part, Stored
from sim.sources.readers.schemes import stored_scheme


def block_shape(shape: tuple[int, int], block: tuple[int, int]) -> tuple[int, int]:
    """Return the shape of the scales; the last blocks may be partial."""
    return -(-shape[0] // block[0]), -(-shape[1] // block[1])


def block_scaled(
    name: str, block: tuple[int, int], shape: tuple[int, int], scales: Part, stored: Stored
) -> Layer:
    """Return the layer of E4M3 weights whose scales ``name`` multiply blocks."""
    given = stored.get(name)
    kind = given.type if given is not None and given.type in scales.types else scales.types[0]
    # Rows of a block repeat its scales: a scheme with groups along the rows has these values.
    scheme = stored_scheme(c.E4M3, PerGroup(block[1]), "F32" if kind in ("U8", "F8_E8M0") else kind)
    return Layer(
        parts={"weight": Part(("F8_E4M3",), shape), name: scales},
        decode=partial(_decode, name=name, block=block, scheme=scheme, shape=shape),
        about=f"fp8_e4m3:{block[0]}x{block[1]}:{scheme.scale_format.name}",
        scheme=scheme,
    )


def _decode(
    arrays: Arrays, *, name: str, block: tuple[int, int], scheme: Any, shape: tuple[int, int]
) -> Grid:
    scales = arrays[name]
    if scales.dtype == np.uint8:
        scales = scales.view(c.SCALE_DTYPES[c.E8M0])
    if scheme.scale_format == c.FP32:
        scales = scales.astype(np.float32)
    rows = np.repeat(scales, block[0], axis=0)[: shape[0]]
    return Grid(
        scheme=scheme,
        shape=shape,
        stream=arrays["weight"].view(np.uint8),
        bits=8,
        side={"scales": rows},
    )
