"""torchao checkpoints in safetensors with the description of each tensor in the metadata.

Source: torchao 0.18.0. A weight ``M.weight`` is stored as ``M._weight_qdata`` and so on.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from numerics.formats import INTEGERS, Format
from numerics.formats import constants as c
from numerics.schemes.granularity import Granularity, PerChannel, PerGroup
from numerics.schemes.scheme import Scheme
from sim.sources.readers.grid import Grid
from sim.sources.readers.layer import FLOATS, Arrays, Layer, Part, Stored
from sim.sources.readers.layout import FloatCache
from sim.sources.readers.schemes import dynamic_scheme, scales_of, stored_scheme
from sim.sources.readers.settings import Settings

DATA, SCALE, ZERO = "_weight_qdata", "_weight_scale", "_weight_zero_point"
LEVEL = "_weight_per_tensor_scale"
#: Fields of quantized activations.
INPUTS = ("act_quant_kwargs", "activation_quantization")
#: Classes of the metadata, with the element of those with one.
CLASSES: Mapping[str, Format | None] = {
    "Int8Tensor": None,
    "IntxUnpackedToInt8Tensor": None,
    "Float8Tensor": c.E4M3,
    "NVFP4Tensor": c.E2M1,
    "MXTensor": c.E2M1,
}


@dataclass(frozen=True, kw_only=True)
class TorchAo(FloatCache):
    """The metadata of a checkpoint; see :class:`sim.sources.readers.layout.Layout`."""

    #: JSON description of each weight.
    weights: tuple[tuple[str, str], ...]
    title: str = "torchao"

    def layer(self, module: str, shape: tuple[int, int], stored: Stored) -> Layer | None:
        """Return how a matrix is stored; ``None`` if it is in floating point."""
        if DATA not in stored:
            return None
        text = dict(self.weights).get(f"{module}.weight")
        if text is None:
            raise ValueError(f"the metadata of the file does not describe {module}.weight")
        about = json.loads(text)
        kind, fields = about.get("_type"), Settings(about.get("_data") or {}, "torchao metadata")
        if kind not in CLASSES:
            raise ValueError(f"{module}.weight is a {kind}; {', '.join(CLASSES)} can be read")
        if kind in ("Int8Tensor", "IntxUnpackedToInt8Tensor"):
            layer = _integers(shape, stored, fields)
        elif kind == "Float8Tensor":
            layer = _bytes(c.E4M3, shape, stored, _granularity(fields, shape))
        else:
            layer = _four_bits(kind, shape, stored, fields)
        return _with_inputs(layer, kind, fields)


def open_layout(settings: Mapping[str, Any], metadata: Mapping[str, str]) -> TorchAo:
    """Read the metadata of the files; raise ``ValueError`` without a description."""
    del settings
    try:
        names = json.loads(metadata.get("tensor_names", "null"))
        texts = {name: metadata[name] for name in names if name in metadata}
        objects = {name: json.loads(text) for name, text in texts.items()}
    except (ValueError, TypeError, RecursionError):
        raise ValueError("the safetensors files have no torchao description of tensors") from None
    wanted = {name: texts[name] for name, value in objects.items() if isinstance(value, dict)}
    return TorchAo(weights=tuple(wanted.items()))


def _granularity(fields: Settings, shape: tuple[int, int]) -> Granularity:
    block = fields.take("block_size")
    if not isinstance(block, list) or len(block) != 2 or block[0] != 1:
        raise ValueError(f"blocks of {block} are not supported, only parts of a row are")
    return PerChannel() if block[1] == shape[1] else PerGroup(int(block[1]))


def _scale_type(stored: Stored) -> str:
    given = stored.get(SCALE)
    return given.type if given is not None and given.type in FLOATS else "F32"


def _integers(shape: tuple[int, int], stored: Stored, fields: Settings) -> Layer:
    """Integers of a byte; those of fewer bits are not packed."""
    granularity = _granularity(fields, shape)
    is_asymmetric = ZERO in stored
    element = INTEGERS[8, "unsigned" if is_asymmetric else "full"]
    scheme = stored_scheme(element, granularity, _scale_type(stored))
    groups = scheme.scale_shape(shape)
    parts = {DATA: Part(("I8",), shape), SCALE: Part(FLOATS, groups)}
    if is_asymmetric:
        parts[ZERO] = Part(("I8",), groups)
    decode = partial(_decode, scheme=scheme, shape=shape)
    return Layer(parts=parts, decode=decode, about=scheme.name, scheme=scheme)


def _bytes(
    element: Format, shape: tuple[int, int], stored: Stored, granularity: Granularity
) -> Layer:
    scheme = stored_scheme(element, granularity, _scale_type(stored))
    return Layer(
        parts={
            DATA: Part(("F8_E4M3",), shape),
            SCALE: Part(FLOATS, scheme.scale_shape(shape)),
        },
        decode=partial(_decode, scheme=scheme, shape=shape),
        about=scheme.name,
        scheme=scheme,
    )


def _four_bits(kind: str, shape: tuple[int, int], stored: Stored, fields: Settings) -> Layer:
    if fields.take("is_swizzled_scales", default=False) is not False:
        raise ValueError("scales in the order of a GPU (is_swizzled_scales) are not supported")
    is_nvfp4 = kind == "NVFP4Tensor"
    data = stored[DATA]
    if not is_nvfp4 and data.type in ("F8_E4M3", "U8") and data.shape == shape:
        scheme = stored_scheme(c.E4M3, PerGroup(32), "F8_E8M0")
    else:
        size, scale = (16, "F8_E4M3") if is_nvfp4 else (32, "F8_E8M0")
        scheme = stored_scheme(c.E2M1, PerGroup(size), scale, two_level=is_nvfp4)
    columns = shape[1] * scheme.element.bits // 8
    parts = {
        DATA: Part(("U8", "F8_E4M3"), (shape[0], columns)),
        SCALE: Part(("F8_E4M3",) if is_nvfp4 else ("F8_E8M0", "U8"), scheme.scale_shape(shape)),
    }
    if is_nvfp4 and LEVEL in stored:
        parts[LEVEL] = Part(("F32",), (1,))
    decode = partial(_decode, scheme=scheme, shape=shape)
    return Layer(parts=parts, decode=decode, about=scheme.name, scheme=scheme)


def _decode(arrays: Arrays, *, scheme: Any, shape: tuple[int, int]) -> Grid:
    side = {"scales": scales_of(arrays[SCALE], scheme, shape)}
    if scheme.second_level is not None:
        side["tensor_scale"] = np.reshape(arrays.get(LEVEL, np.ones(1, np.float32)), ())
    has_zeros = ZERO in arrays
    if has_zeros:
        zeros = arrays[ZERO].view(np.uint8) ^ np.uint8(0x80)
        side["zero_points"] = zeros.reshape(scheme.scale_shape(shape))
    return Grid(
        scheme=scheme,
        shape=shape,
        stream=arrays[DATA].view(np.uint8),
        bits=scheme.element.bits,
        flip=0x80 if has_zeros else 0,
        side=side,
    )


def _with_inputs(layer: Layer, kind: str, fields: Settings) -> Layer:
    """Add the scheme of activations that are quantized at run time."""
    given = next((fields.take(name) for name in INPUTS if fields.take(name) is not None), None)
    if given is None:
        return layer
    element = c.E4M3 if kind == "Float8Tensor" else INTEGERS[8, "full"]
    if kind not in ("Float8Tensor", "Int8Tensor"):
        raise ValueError(f"quantized activations of a {kind} are not supported")
    scheme = dynamic_scheme(element)

    def inputs(arrays: Arrays) -> Scheme:
        del arrays
        return scheme

    return replace(layer, activations=inputs)
