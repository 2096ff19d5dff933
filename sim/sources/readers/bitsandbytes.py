"""bitsandbytes checkpoints: NF4 and FP4 with blocks over the flattened matrix, and LLM.int8.

Source: bitsandbytes 0.50.2. The high nibble is the first of two codes. The file's own tables of
values are used. The scales of blocks may be quantized themselves, by a table of 256 values.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32

from numerics.formats import Format
from numerics.formats import constants as c
from numerics.schemes.granularity import PerGroup
from sim.sources.readers.bit_stream import unpack_rows
from sim.sources.readers.grid import Grid
from sim.sources.readers.layer import Arrays, Layer, Part, Stored
from sim.sources.readers.layout import FloatCache
from sim.sources.readers.schemes import stored_scheme
from sim.sources.readers.settings import Settings

#: Name of the JSON object beside a weight, by the format of its codes.
STATE = "weight.quant_state.bitsandbytes__"
ELEMENTS: Mapping[str, Format] = {"nf4": c.NF4, "fp4": c.FP4_BNB}
BLOCK = 64
#: Divisor of LLM.int8 after the product with the scale of a row.
INT8_MAX = np.float32(127)
MAX_STATE_BYTES = 2**16


@dataclass(frozen=True, kw_only=True)
class BitsAndBytes(FloatCache):
    """The settings of a checkpoint; see :class:`sim.sources.readers.layout.Layout`."""

    title: str = "bitsandbytes"

    def layer(self, module: str, shape: tuple[int, int], stored: Stored) -> Layer | None:
        """Return how a matrix is stored; ``None`` if it is in floating point."""
        del module
        kind = next((kind for kind in ELEMENTS if STATE + kind in stored), None)
        if kind is not None:
            return _four_bits(kind, shape, stored)
        return _eight_bits(shape) if "SCB" in stored else None


def open_layout(settings: Mapping[str, Any], metadata: Mapping[str, str]) -> BitsAndBytes:
    """Read the settings; what is stored says the rest."""
    del metadata
    Settings(settings, "bitsandbytes settings").flag("load_in_4bit", default=False)
    return BitsAndBytes()


def _four_bits(kind: str, shape: tuple[int, int], stored: Stored) -> Layer:
    count = shape[0] * shape[1]
    state = STATE + kind
    is_nested = "weight.nested_absmax" in stored
    parts = {
        "weight": Part(("U8",), (-(-count // 2), 1)),
        "weight.quant_map": Part(("F32",), (16,)),
        state: Part(("U8",), stored[state].shape if len(stored[state].shape) == 1 else (1,)),
    }
    absmax = stored.get("weight.absmax")
    blocks = absmax.shape if absmax is not None and len(absmax.shape) == 1 else (1,)
    parts["weight.absmax"] = Part(("U8",) if is_nested else ("F32",), blocks)
    if is_nested:
        nested = stored["weight.nested_absmax"].shape
        parts["weight.nested_absmax"] = Part(("F32",), nested if len(nested) == 1 else (1,))
        parts["weight.nested_quant_map"] = Part(("F32",), (256,))
    size = _block_size(count, blocks[0])
    is_grid = shape[1] % size == 0
    scheme = stored_scheme(ELEMENTS[kind], PerGroup(size), "F32") if is_grid else None
    return Layer(
        parts=parts,
        decode=partial(_decode, kind=kind, shape=shape, size=size),
        about=f"{kind}:g{size}:{'nested' if is_nested else 'fp32'}",
        scheme=scheme,
    )


def _block_size(count: int, blocks: int) -> int:
    """Return the size of a block: a power of two that gives this number of blocks."""
    size = BLOCK
    while size < 4096 and -(-count // size) > blocks:
        size *= 2
    return size


def _decode(arrays: Arrays, *, kind: str, shape: tuple[int, int], size: int) -> Grid | np.ndarray:
    state = _state(arrays[STATE + kind])
    stated = state.get("blocksize"), state.get("quant_type"), state.get("shape")
    if stated != (size, kind, list(shape)):
        raise ValueError(f"the quantization state says {stated}, the tensors {size}, {kind}")
    scales, count = _block_scales(arrays, state), shape[0] * shape[1]
    if len(scales) != -(-count // size):
        raise ValueError(f"{len(scales)} scales for {count} values in blocks of {size}")
    packed = arrays["weight"].reshape(-1)
    swapped = (packed << np.uint8(4)) | (packed >> np.uint8(4))
    levels = arrays["weight.quant_map"]
    element = ELEMENTS[kind]
    is_usual = np.array_equal(levels, np.array(element.values, np.float32))
    if is_usual and shape[1] % size == 0:
        scheme = stored_scheme(element, PerGroup(size), "F32")
        side = {"scales": scales.reshape(scheme.scale_shape(shape))}
        rows = swapped.reshape(shape[0], -1)
        return Grid(scheme=scheme, shape=shape, stream=rows, bits=4, side=side)
    codes = unpack_rows(swapped[None], 4, count)[0]
    with np.errstate(over="ignore", invalid="ignore"):  # the caller checks values
        values = levels[codes] * np.repeat(scales, size)[:count]
    return np.asarray(values.reshape(shape), np.float32)


def _state(raw: np.ndarray) -> dict[str, Any]:
    if raw.size > MAX_STATE_BYTES:
        raise ValueError(f"the quantization state has {raw.size} bytes")
    try:
        state = json.loads(raw.tobytes())
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise ValueError("the quantization state is not a JSON object")
    return state


def _block_scales(arrays: Arrays, state: Mapping[str, Any]) -> Float32[np.ndarray, " blocks"]:
    """Return the scales of blocks; of quantized ones, table times scale plus offset."""
    absmax = arrays["weight.absmax"]
    if absmax.dtype == np.float32:
        return absmax
    reader = Settings(state, "quantization state")
    size = reader.integer("nested_blocksize", default=256)
    offset = reader.take("nested_offset", default=0.0)
    if not isinstance(offset, int | float):
        raise reader.wrong("nested_offset", offset, "must be a number")
    outer = np.repeat(arrays["weight.nested_absmax"], size)[: len(absmax)]
    if len(outer) != len(absmax):
        raise ValueError(f"{len(absmax)} nested scales in blocks of {size} need more outer ones")
    with np.errstate(over="ignore", invalid="ignore"):
        scales = arrays["weight.nested_quant_map"][absmax] * outer + np.float32(offset)
    return np.asarray(scales, np.float32)


def _eight_bits(shape: tuple[int, int]) -> Layer:
    return Layer(
        parts={"weight": Part(("I8",), shape), "SCB": Part(("F32",), (shape[0],))},
        others={"weight_format": Part(("U8", "I64", "I32"), (1,))},
        decode=_decode_rows,
        about="llm.int8",
    )


def _decode_rows(arrays: Arrays) -> Float32[np.ndarray, "out in"]:
    """Return ``code * scale / 127``, rounded to float32 after each operation."""
    with np.errstate(over="ignore", invalid="ignore"):
        return arrays["weight"].astype(np.float32) * arrays["SCB"][:, None] / INT8_MAX
