"""HQQ checkpoints: half-quadratic quantization with a float zero point a group.

Source: hqq 0.2.8. The matrix is viewed as groups; codes are packed by slabs of rows, the first slab
in the high bits. A value is ``(code - zero) * scale`` in the type of the scales.
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

#: Codes of an element of ``W_q``, their bits, and its storage type, by the bits of a code.
PACKINGS = {8: (1, 8, "U8"), 4: (2, 4, "U8"), 3: (10, 3, "I32"), 2: (4, 2, "U8"), 1: (8, 1, "U8")}
#: Tensors of the saved state that are not needed to decode.
OTHERS = (
    "nbits", "group_size", "shape", "axis", "packing", "unpack_view_dtype", "view_as_float",
    "quant_scale", "quant_zero", "compute_dtype", "offload_meta", "encoded_state_dict",
    "stores_quant_config", "channel_wise", "optimize", "round_zero",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Hqq(FloatCache):
    """The settings of a checkpoint; see :class:`sim.sources.readers.layout.Layout`."""

    bits: int
    group_size: int | None
    axis: int
    title: str = "HQQ"

    def layer(self, module: str, shape: tuple[int, int], stored: Stored) -> Layer | None:
        """Return how a matrix is stored; ``None`` if it is in floating point."""
        if "W_q" not in stored:
            return None
        if "scale_q" in stored or "zero_q" in stored:
            raise ValueError(f"{module} has quantized scales, which are not supported")
        count = shape[0] * shape[1]
        size = self.group_size or shape[1]
        if count % size:
            raise ValueError(f"{count} weights of {module} are not whole groups of {size}")
        groups = count // size
        rows, columns = (groups, size) if self.axis == 1 else (size, groups)
        slabs, _, kind = PACKINGS[self.bits]
        packed = stored["W_q"].shape[0] if stored["W_q"].shape else 0
        if packed != -(-rows // slabs):
            raise ValueError(f"{module}.W_q has {packed} rows, not {-(-rows // slabs)}")
        side = Part(FLOATS, (rows, 1) if self.axis == 1 else (1, columns))
        return Layer(
            parts={"W_q": Part((kind,), (packed, columns)), "scale": side, "zero": side},
            others={n: Part((stored[n].type,), stored[n].shape) for n in OTHERS if n in stored},
            decode=partial(_decode, bits=self.bits, rows=rows, shape=shape),
            about=f"int{self.bits}:g{size}:hqq",
        )


def open_layout(settings: Mapping[str, Any], metadata: Mapping[str, str]) -> Hqq:
    """Read the settings; raise ``ValueError`` for unknown ones."""
    del metadata
    outer = Settings(settings, "HQQ settings")
    nested = Settings(outer.object("quant_config"), outer.context)
    reader = Settings(nested.object("weight_quant_params") or settings, outer.context)
    bits = reader.integer("nbits", "bits", default=4)
    if bits not in PACKINGS:
        raise reader.wrong("nbits", bits, f"must be one of {', '.join(map(str, PACKINGS))}")
    axis = reader.integer("axis", default=1, low=0)
    if axis not in (0, 1):
        raise reader.wrong("axis", axis, "must be 0 or 1")
    size = reader.take("group_size")
    if size is not None:
        size = reader.integer("group_size")
    return Hqq(bits=bits, group_size=size, axis=axis)


def _decode(
    arrays: Arrays, *, bits: int, rows: int, shape: tuple[int, int]
) -> Float32[np.ndarray, "out in"]:
    slabs, width, _ = PACKINGS[bits]
    packed, mask = arrays["W_q"], (1 << width) - 1
    shifts = [width * place for place in reversed(range(slabs))]
    codes = np.concatenate([(packed >> shift) & mask for shift in shifts])[:rows]
    scale, zero = arrays["scale"], arrays["zero"]
    with np.errstate(over="ignore", invalid="ignore"):  # the caller checks values
        values = (codes.astype(scale.dtype) - zero) * scale
    return values.reshape(shape).astype(np.float32)
