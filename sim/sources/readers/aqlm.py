"""AQLM checkpoints: vectors of a row as sums of codebook entries.

Source: aqlm 1.1.7. Codes are signed integers that wrap at the size of the codebook.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32

from sim.sources.readers.layer import FLOATS, Arrays, Layer, Part, Stored
from sim.sources.readers.layout import FloatCache
from sim.sources.readers.settings import Settings

#: Rows decoded at a time.
ROWS = 256


@dataclass(frozen=True, kw_only=True)
class Aqlm(FloatCache):
    """The settings of a checkpoint; see :class:`sim.sources.readers.layout.Layout`."""

    codebooks: int
    bits: int
    in_group: int
    out_group: int
    title: str = "AQLM"

    def layer(self, module: str, shape: tuple[int, int], stored: Stored) -> Layer | None:
        """Return how a matrix is stored; ``None`` if it is in floating point."""
        if "codes" not in stored:
            return None
        rows, columns = shape
        if rows % self.out_group or columns % self.in_group:
            raise ValueError(f"{module} is not made of {self.out_group}x{self.in_group} vectors")
        blocks = rows // self.out_group, columns // self.in_group
        codebooks = (self.codebooks, 1 << self.bits, self.out_group, self.in_group)
        return Layer(
            parts={
                "codes": Part(("I8",) if self.bits <= 8 else ("I16",), (*blocks, self.codebooks)),
                "codebooks": Part(FLOATS, codebooks),
                "scales": Part(FLOATS, (blocks[0], 1, 1, 1)),
            },
            decode=partial(_decode, shape=shape),
            about=f"aqlm-{self.codebooks}x{self.bits}",
        )


def open_layout(settings: Mapping[str, Any], metadata: Mapping[str, str]) -> Aqlm:
    """Read the settings; raise ``ValueError`` for unknown ones."""
    del metadata
    reader = Settings(settings, "AQLM settings")
    bits = reader.integer("nbits_per_codebook", default=16)
    if bits > 16:
        raise reader.wrong("nbits_per_codebook", bits, "must be at most 16")
    return Aqlm(
        codebooks=reader.integer("num_codebooks", default=1),
        bits=bits,
        in_group=reader.integer("in_group_size", default=8),
        out_group=reader.integer("out_group_size", default=1),
    )


def _decode(arrays: Arrays, *, shape: tuple[int, int]) -> Float32[np.ndarray, "out in"]:
    """Return ``scale * (C_1[i_1] + C_2[i_2] + ...)``, the sum in float32 in this order."""
    codes = arrays["codes"]
    codebooks = arrays["codebooks"].astype(np.float32)
    scales = arrays["scales"].astype(np.float32)
    mask = (1 << (8 * codes.dtype.itemsize)) - 1
    entries = codebooks.shape[1]
    out = np.empty(shape, np.float32)
    group = codebooks.shape[2]
    for start in range(0, len(codes), ROWS):
        part = (codes[start : start + ROWS].astype(np.int32) & mask) % entries
        with np.errstate(over="ignore", invalid="ignore"):  # the caller checks values
            total = codebooks[0][part[:, :, 0]]
            for index in range(1, len(codebooks)):
                total = total + codebooks[index][part[:, :, index]]
            total = total * scales[start : start + ROWS]
        rows = total.swapaxes(1, 2).reshape(-1, shape[1])
        out[start * group : start * group + len(rows)] = rows
    return out
