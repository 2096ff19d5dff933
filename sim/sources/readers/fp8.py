"""FP8 checkpoints of DeepSeek-V3, Qwen3, AutoFP8 and FBGEMM.

Sources: the quantizers ``finegrained_fp8`` and ``fbgemm_fp8`` of transformers 5.24. Every scale of
weights multiplies, whatever its name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from numerics.formats import constants as c
from numerics.schemes.granularity import PerChannel, PerGroup, PerTensor
from numerics.schemes.scheme import Scheme
from sim.sources.readers.blocks import block_scaled, block_shape
from sim.sources.readers.grid import Grid
from sim.sources.readers.layer import Arrays, Layer, Part, Stored
from sim.sources.readers.schemes import (
    dynamic_scheme,
    scales_of,
    static_scheme,
    stored_scheme,
)
from sim.sources.readers.settings import Settings

#: Names of the scale of a weight.
SCALES = ("weight_scale_inv", "weight_scale")
SCALE_TYPES = ("F32", "BF16", "F16", "F8_E8M0", "U8")
INPUT_SCALES = ("activation_scale", "input_scale")
_CACHE = re.compile(r"\.self_attn\.((k|v)_proj\.)?(k|v|kv)_scale$")


@dataclass(frozen=True, kw_only=True)
class Fp8:
    """The settings of a checkpoint; see :class:`sim.sources.readers.layout.Layout`."""

    title: str
    #: Rows and columns that share a scale; ``None`` for a scale of the tensor or of each row.
    block: tuple[int, int] | None
    #: Whether activations are quantized with scales in the file.
    static: bool
    notes: tuple[str, ...] = ()

    def layer(self, module: str, shape: tuple[int, int], stored: Stored) -> Layer | None:
        """Return how a matrix is stored; ``None`` if it is in floating point."""
        name = next((name for name in SCALES if name in stored), None)
        is_fp8 = "weight" in stored and stored["weight"].type == "F8_E4M3"
        if name is None or not is_fp8:
            if name is None and not is_fp8:
                return None
            raise ValueError(f"{module} has a weight in FP8 or a scale of it, but not both")
        layer = self._weights(name, shape, stored)
        numbers = {other: Part(("F32", "BF16"), (1,)) for other in INPUT_SCALES}
        return replace(layer, others=numbers, activations=self._activations)

    def _weights(self, name: str, shape: tuple[int, int], stored: Stored) -> Layer:
        size = int(np.prod(stored[name].shape))
        if self.block is not None and size > 1:
            grid = Part(SCALE_TYPES, block_shape(shape, self.block))
            return block_scaled(name, self.block, shape, grid, stored)
        return fp8_layer(name, shape, stored)

    def _activations(self, arrays: Arrays) -> Scheme:
        given = [arrays[name] for name in INPUT_SCALES if name in arrays]
        if self.static:
            if not given:
                raise ValueError("a static scale of activations is not in the file")
            return static_scheme(c.E4M3, given[0])
        size = None if self.block is None else self.block[1]
        return dynamic_scheme(c.E4M3, PerGroup(size) if size else None)

    def is_cache_tensor(self, name: str) -> bool:
        """Return whether a tensor is a scale of the KV cache."""
        return _CACHE.search(name) is not None

    def cache_scheme(self, scales: Arrays) -> Scheme | None:
        """Return the scheme of a layer's KV cache."""
        if not scales:
            return None
        return static_scheme(c.E4M3, np.stack([np.max(scale) for scale in scales.values()]))


def fp8_layer(name: str, shape: tuple[int, int], stored: Stored) -> Layer:
    """Return an FP8 layer with a scale for the tensor or for each row."""
    scale = stored[name]
    is_one = int(np.prod(scale.shape)) == 1
    kind = scale.type if scale.type in ("F32", "BF16", "F16") else "F32"
    scheme = stored_scheme(c.E4M3, PerTensor() if is_one else PerChannel(), kind)
    rows = (shape[0],) if len(scale.shape) == 1 else (shape[0], 1)
    return Layer(
        parts={
            "weight": Part(("F8_E4M3",), shape),
            name: Part(SCALE_TYPES, (1,) if is_one else rows),
        },
        decode=partial(_decode, name=name, scheme=scheme, shape=shape),
        about=scheme.name,
        scheme=scheme,
    )


def _decode(arrays: Arrays, *, name: str, scheme: Any, shape: tuple[int, int]) -> Grid:
    scales = scales_of(arrays[name], scheme, shape)
    weight = arrays["weight"].view(np.uint8)
    return Grid(scheme=scheme, shape=shape, stream=weight, bits=8, side={"scales": scales})


def open_layout(settings: Mapping[str, Any], metadata: Mapping[str, str]) -> Fp8:
    """Read the settings; raise ``ValueError`` for unknown ones."""
    del metadata
    reader = Settings(settings, "FP8 settings")
    if reader.text("fmt", default="e4m3") != "e4m3":
        raise reader.wrong("fmt", settings["fmt"], "must be e4m3")
    block = reader.take("weight_block_size")
    if block is not None:
        is_pair = isinstance(block, list) and len(block) == 2
        if not is_pair or not all(type(n) is int and 0 < n <= 2**24 for n in block):
            raise reader.wrong("weight_block_size", block, "must be two integers above 0")
    is_static = reader.choice(
        "activation_scheme", choices={"dynamic": False, "static": True}, default="dynamic"
    )
    method = reader.text("quant_method", default="fp8")
    upper = reader.take("activation_scale_ub")
    notes = () if upper is None else (f"The upper bound {upper} of token scales is not applied.",)
    return Fp8(
        title=f"FP8 ({method})",
        block=None if block is None else (block[0], block[1]),
        static=is_static,
        notes=notes,
    )
