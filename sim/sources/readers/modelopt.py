"""NVIDIA ModelOpt checkpoints: FP8 and NVFP4.

Source: nvidia-modelopt 0.47.0. The second scale of NVFP4 multiplies. A ``pre_quant_scale``
multiplies the inputs, which is a factor on the columns of the weight.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from numerics.formats import constants as c
from numerics.schemes.granularity import PerGroup
from numerics.schemes.scheme import Scheme
from sim.sources.readers.fp8 import fp8_layer
from sim.sources.readers.grid import Grid
from sim.sources.readers.layer import FLOATS, Arrays, Layer, Part, Stored
from sim.sources.readers.schemes import static_scheme, stored_scheme
from sim.sources.readers.settings import Settings

_CACHE = re.compile(r"\.self_attn\.((k|v)_proj\.)?(k|v)_scale$")
#: Algorithms that leave activations in floating point.
WEIGHT_ONLY = ("W4A16_NVFP4", "NVFP4_W4A16", "FP8_PB_WO", "W8A16")
KNOWN = ("FP8", "NVFP4", "NVFP4_AWQ", "FP8_PER_CHANNEL_PER_TOKEN", "MIXED_PRECISION", *WEIGHT_ONLY)


@dataclass(frozen=True, kw_only=True)
class ModelOpt:
    """The settings of a checkpoint; see :class:`sim.sources.readers.layout.Layout`."""

    title: str
    weight_only: bool
    cache: str | None
    notes: tuple[str, ...] = ()

    def layer(self, module: str, shape: tuple[int, int], stored: Stored) -> Layer | None:
        """Return how a matrix is stored; ``None`` if it is in floating point."""
        if "weight_scale" not in stored:
            return None
        if "weight" not in stored:
            raise ValueError(f"{module} has a weight_scale and no weight")
        kind = stored["weight"].type
        if kind == "U8":
            layer, inputs = _nvfp4(shape, stored), _nvfp4_inputs
        elif kind == "F8_E4M3":
            layer, inputs = fp8_layer("weight_scale", shape, stored), _fp8_inputs
        else:
            raise ValueError(f"{module}.weight is stored as {kind}, not as U8 (NVFP4) or F8_E4M3")
        layer = replace(
            layer,
            others={"input_scale": Part(("F32",), (1,))},
            activations=None if self.weight_only else inputs,
        )
        return _with_input_factors(layer, shape) if "pre_quant_scale" in stored else layer

    def is_cache_tensor(self, name: str) -> bool:
        """Return whether a tensor is a scale of the KV cache."""
        return self.cache is not None and _CACHE.search(name) is not None

    def cache_scheme(self, scales: Arrays) -> Scheme | None:
        """Return the scheme of a layer's KV cache; FP8 without scales has the scale 1."""
        if self.cache is None:
            return None
        given = [np.max(scale) for scale in scales.values()] or [np.float32(1)]
        return static_scheme(c.E4M3, np.stack(given))


def open_layout(settings: Mapping[str, Any], metadata: Mapping[str, str]) -> ModelOpt:
    """Read the settings; raise ``ValueError`` for unknown ones."""
    del metadata
    outer = Settings(settings, "ModelOpt settings")
    producer = Settings(outer.object("producer"), outer.context)
    reader = Settings(outer.object("quantization") or settings, outer.context)
    algorithm = reader.text("quant_algo", default="").upper()
    if algorithm not in KNOWN:
        raise reader.wrong("quant_algo", algorithm, f"must be one of {', '.join(KNOWN)}")
    cache = reader.take("kv_cache_quant_algo")
    if cache is not None and str(cache).upper() != "FP8":
        raise reader.wrong("kv_cache_quant_algo", cache, "must be FP8 or null")
    version = producer.text("version", default="")
    return ModelOpt(
        title=f"ModelOpt {version} ({algorithm})".replace("  ", " "),
        weight_only=algorithm in WEIGHT_ONLY,
        cache=None if cache is None else "FP8",
    )


def _nvfp4(shape: tuple[int, int], stored: Stored) -> Layer:
    del stored
    scheme = stored_scheme(c.E2M1, PerGroup(16), "F8_E4M3", two_level=True)
    return Layer(
        parts={
            "weight": Part(("U8",), (shape[0], shape[1] // 2)),
            "weight_scale": Part(("F8_E4M3",), scheme.scale_shape(shape)),
            "weight_scale_2": Part(("F32",), (1,)),
        },
        decode=partial(_decode, scheme=scheme, shape=shape),
        about=scheme.name,
        scheme=scheme,
    )


def _decode(arrays: Arrays, *, scheme: Any, shape: tuple[int, int]) -> Grid:
    return Grid(
        scheme=scheme,
        shape=shape,
        stream=arrays["weight"],
        bits=4,
        side={
            "scales": arrays["weight_scale"],
            "tensor_scale": arrays["weight_scale_2"].reshape(()),
        },
    )


def _with_input_factors(layer: Layer, shape: tuple[int, int]) -> Layer:
    """Fold factors on the inputs into the columns of the weight."""

    def decode(arrays: Arrays) -> np.ndarray:
        decoded = layer.decode(arrays)
        values = decoded.values() if isinstance(decoded, Grid) else decoded
        return values * arrays["pre_quant_scale"].astype(np.float32)

    parts = {**layer.parts, "pre_quant_scale": Part(FLOATS, (shape[1],))}
    about = f"{layer.about} times input factors"
    # The inputs are quantized after the factors, which no scheme of activations has.
    return replace(layer, parts=parts, decode=decode, about=about, scheme=None, activations=None)


def _fp8_inputs(arrays: Arrays) -> Scheme:
    if "input_scale" not in arrays:
        raise ValueError("a static scale of activations is not in the file")
    return static_scheme(c.E4M3, arrays["input_scale"])


def _nvfp4_inputs(arrays: Arrays) -> Scheme:
    if "input_scale" not in arrays:
        raise ValueError("the scale of activations in NVFP4 is not in the file")
    scheme = stored_scheme(c.E2M1, PerGroup(16), "F8_E4M3", two_level=True)
    return replace(scheme, static_scale=float(arrays["input_scale"].reshape(())))
