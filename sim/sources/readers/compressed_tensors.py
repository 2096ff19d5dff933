"""compressed-tensors, the format of llm-compressor and vLLM.

Sources: the compressors of the package compressed-tensors 0.20.1; the bit stream of
``pack-quantized`` changed in 0.18.0, from words of whole codes to a dense stream.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from numerics.formats import INTEGERS, Format
from numerics.formats import constants as c
from numerics.schemes.granularity import Granularity, PerChannel, PerGroup, PerTensor
from numerics.schemes.scheme import Scheme
from sim.sources.readers.bit_stream import (
    aligned_words,
    dense_words,
    pack_rows,
    unpack_rows,
    unpack_words,
    word_bytes,
)
from sim.sources.readers.blocks import block_scaled, block_shape
from sim.sources.readers.compressed_groups import Arguments, Group, read_groups
from sim.sources.readers.grid import Grid
from sim.sources.readers.layer import FLOATS, Arrays, Layer, Part, Stored
from sim.sources.readers.schemes import dynamic_scheme, scales_of, static_scheme, stored_scheme
from sim.sources.readers.settings import Settings

METHODS = ("compressed-tensors", "sparseml")
#: Suffixes that only a quantized layer has.
MARKS = ("weight_packed", "weight_scale", "weight_global_scale", "weight_zero_point")
_CACHE = re.compile(r"\.self_attn\.((k|v)_proj\.output_|(k|v)_(cache\.)?)(scale|zero_point)$")


def open_layout(settings: Mapping[str, Any], metadata: Mapping[str, str]) -> "CompressedTensors":
    """Read the settings; raise ``ValueError`` for unknown ones."""
    del metadata
    reader = Settings(settings, "compressed-tensors settings")
    sparsity = Settings(reader.object("sparsity_config"), reader.context)
    if sparsity.text("format", default="dense") != "dense":
        raise ValueError(
            f"sparsity_config: format {sparsity.raw['format']} is not supported, only dense"
        )
    _check_transforms(reader.object("transform_config"))
    version = reader.text("version", default="")
    cache = reader.take("kv_cache_scheme")
    return CompressedTensors(
        title=f"compressed-tensors {version}".strip(),
        groups=read_groups(reader),
        ignore=reader.texts("ignore"),
        cache=None if cache is None else Arguments.read(cache, "kv_cache_scheme"),
    )


def _check_transforms(transforms: Mapping[str, Any]) -> None:
    """Refuse transforms that are applied at run time; those of weights are in the weights."""
    for name, scheme in Settings(transforms, "transform_config").object("config_groups").items():
        applied = scheme.get("apply", []) if isinstance(scheme, Mapping) else []
        places = [one.get("location") for one in applied if isinstance(one, Mapping)]
        if online := [p for p in places if p not in ("weight_input", "weight_output")]:
            raise ValueError(
                f"transform_config: {name} is applied at run time ({online[0]}), which is not "
                f"supported; only transforms of weights are"
            )


@dataclass(frozen=True, kw_only=True)
class CompressedTensors:
    """The settings of a checkpoint; see :class:`sim.sources.readers.layout.Layout`."""

    title: str
    groups: tuple[Group, ...]
    ignore: tuple[str, ...]
    cache: Arguments | None
    notes: tuple[str, ...] = ()

    def layer(self, module: str, shape: tuple[int, int], stored: Stored) -> Layer | None:
        """Return how a matrix is stored; ``None`` if it is in floating point."""
        is_quantized = any(mark in stored for mark in MARKS)
        is_ignored = any(_names(pattern, module) for pattern in self.ignore)
        if is_ignored and is_quantized:
            raise ValueError(f"{module} is quantized, but the settings ignore it")
        if not is_quantized:
            return None
        group = next((g for g in self.groups if any(_names(t, module) for t in g.targets)), None)
        group = group or next((g for g in self.groups if "Linear" in g.targets), None)
        if group is None:
            raise ValueError(f"{module} is quantized, but no config_group of the settings names it")
        reader = FORMATS.get(group.format)
        if reader is None:
            raise ValueError(
                f"format {group.format} of {module} is not supported; supported are "
                f"{', '.join(FORMATS)}"
            )
        layer = reader(group.weights, shape, stored)
        return _with_activations(layer, group, shape)

    def is_cache_tensor(self, name: str) -> bool:
        """Return whether a tensor is a scale of the KV cache."""
        return self.cache is not None and _CACHE.search(name) is not None

    def cache_scheme(self, scales: Arrays) -> Scheme | None:
        """Return the scheme of a layer's KV cache."""
        if self.cache is None:
            return None
        return _activation_scheme(self.cache, list(scales.values()))


def _names(pattern: str, module: str) -> bool:
    """Return whether a target or an ignored pattern names a module."""
    if pattern.startswith("re:"):
        try:
            return re.match(pattern[3:], module) is not None
        except re.error as error:
            raise ValueError(f"pattern {pattern!r} of the settings: {error}") from None
    return pattern == module


def _granularity(arguments: Arguments, columns: int) -> tuple[Granularity, int]:
    """Return the granularity of scales and the number of groups in a row."""
    match arguments.strategy:
        case "tensor":
            return PerTensor(), 1
        case "channel":
            return PerChannel(), 1
        case "group" | "tensor_group":
            size = arguments.group_size
            if size is None:
                raise ValueError("strategy group needs a group_size above 0")
            return PerGroup(size), -(-columns // size)
    raise ValueError(f"strategy {arguments.strategy!r} of weights is not supported here")


def _scale_part(arguments: Arguments, shape: tuple[int, int], types: tuple[str, ...]) -> Part:
    granularity, groups = _granularity(arguments, shape[1])
    return Part(types, (1,) if granularity == PerTensor() else (shape[0], groups))


def _packed(arguments: Arguments, shape: tuple[int, int], stored: Stored) -> Layer:
    """``pack-quantized``: integers with an offset, in words of 32 bits."""
    bits = arguments.integer_bits
    granularity, groups = _granularity(arguments, shape[1])
    words = _words(stored, "weight_packed", shape[1], bits)
    parts = {
        "weight_packed": Part(("I32",), (shape[0], words)),
        "weight_scale": _scale_part(arguments, shape, FLOATS),
        "weight_shape": Part(("I64", "I32"), (2,)),
    }
    if not arguments.symmetric:
        zeros = _zero_words(stored, shape[0], bits)
        parts["weight_zero_point"] = (
            Part(("I8",), (1,)) if granularity == PerTensor() else Part(("I32",), (zeros, groups))
        )
    if "weight_g_idx" in stored:
        parts["weight_g_idx"] = Part(("I32",), (shape[1],))
    elif "weight_zero_point" in stored and arguments.symmetric:
        raise ValueError("symmetric layers have no weight_zero_point")
    element = INTEGERS[bits, "full" if arguments.symmetric else "unsigned"]
    scheme = stored_scheme(element, granularity, _scale_type(stored, FLOATS))
    return Layer(
        parts=parts,
        decode=partial(_decode_packed, scheme=scheme, shape=shape),
        about=scheme.name,
        scheme=scheme,
    )


def _words(stored: Stored, name: str, columns: int, bits: int) -> int:
    """Return the words of a row: those of a dense stream, or of one whose words are padded."""
    tensor = stored.get(name)
    given = tensor.shape[-1] if tensor is not None and tensor.shape else 0
    aligned = aligned_words(columns, bits)
    return aligned if given == aligned else dense_words(columns, bits)


def _zero_words(stored: Stored, rows: int, bits: int) -> int:
    tensor = stored.get("weight_zero_point")
    given = tensor.shape[0] if tensor is not None and tensor.shape else 0
    aligned = aligned_words(rows, bits)
    return aligned if given == aligned else dense_words(rows, bits)


def _scale_type(stored: Stored, types: tuple[str, ...]) -> str:
    """Return the type of the scales; that of a wrong one is refused with its shape later."""
    tensor = stored.get("weight_scale")
    return tensor.type if tensor is not None and tensor.type in types else types[0]


def _decode_packed(arrays: Arrays, *, scheme: Any, shape: tuple[int, int]) -> Grid | np.ndarray:
    bits = scheme.element.bits
    if arrays["weight_shape"].tolist() != list(shape):
        raise ValueError(f"weight_shape is {arrays['weight_shape'].tolist()}, not {list(shape)}")
    packed = arrays["weight_packed"]
    if packed.shape[1] == dense_words(shape[1], bits):
        stream = word_bytes(packed)
    else:
        stream = pack_rows(unpack_words(packed, bits, shape[1]), bits)
    side = {"scales": arrays["weight_scale"].reshape(scheme.scale_shape(shape))}
    is_symmetric = "weight_zero_point" not in arrays
    if not is_symmetric:
        side["zero_points"] = _zero_points(arrays["weight_zero_point"], bits, shape[0])
    grid = Grid(
        scheme=scheme,
        shape=shape,
        stream=stream,
        bits=bits,
        flip=1 << (bits - 1) if is_symmetric else 0,
        side=side,
    )
    if "weight_g_idx" not in arrays:
        return grid
    raise ValueError("weight_g_idx, groups in the order of activations, is not supported")


def _zero_points(stored: np.ndarray, bits: int, rows: int) -> np.ndarray:
    """Return zero points as the unsigned codes of zero, (out, groups)."""
    if stored.dtype == np.int8:
        return (stored.astype(np.int16) + (1 << (bits - 1))).astype(np.uint8).reshape(1, 1)
    words = np.ascontiguousarray(stored.T)  # packed along the rows of the weight
    if words.shape[1] == dense_words(rows, bits):
        return np.ascontiguousarray(unpack_rows(word_bytes(words), bits, rows).T)
    return np.ascontiguousarray(unpack_words(words, bits, rows).T)


def _integers(arguments: Arguments, shape: tuple[int, int], stored: Stored) -> Layer:
    """``int-quantized`` and ``naive-quantized``: integers of a byte."""
    arguments.check_type("int")
    element = INTEGERS[8, "full" if arguments.symmetric else "unsigned"]
    granularity, _ = _granularity(arguments, shape[1])
    scale = _scale_part(arguments, shape, FLOATS)
    parts = {"weight": Part(("I8",), shape), "weight_scale": scale}
    if not arguments.symmetric:
        parts["weight_zero_point"] = Part(("I8",), scale.shape)
    # Some releases store the zero points of symmetric layers, all zeros.
    others = {"weight_zero_point": Part(("I8",), scale.shape)} if arguments.symmetric else {}
    scheme = stored_scheme(element, granularity, _scale_type(stored, FLOATS))
    decode = partial(_decode_bytes, scheme=scheme, shape=shape)
    return Layer(parts=parts, others=others, decode=decode, about=scheme.name, scheme=scheme)


def _decode_bytes(arrays: Arrays, *, scheme: Any, shape: tuple[int, int]) -> Grid:
    side = {"scales": scales_of(arrays["weight_scale"], scheme, shape)}
    has_zeros = "weight_zero_point" in arrays
    if has_zeros:
        zeros = arrays["weight_zero_point"].view(np.uint8) ^ np.uint8(0x80)
        side["zero_points"] = zeros.reshape(scheme.scale_shape(shape))
    return Grid(
        scheme=scheme,
        shape=shape,
        stream=arrays["weight"].view(np.uint8),
        bits=8,
        flip=0x80 if has_zeros else 0,
        side=side,
    )


def _floats(arguments: Arguments, shape: tuple[int, int], stored: Stored) -> Layer:
    """``float-quantized``: E4M3 with a scale for the tensor, each row or each block."""
    arguments.check_type("float")
    if arguments.strategy == "block":
        block = arguments.block or (128, 128)
        grid = block_shape(shape, block)
        return block_scaled("weight_scale", block, shape, Part(FLOATS, grid), stored)
    granularity, _ = _granularity(arguments, shape[1])
    scheme = stored_scheme(c.E4M3, granularity, _scale_type(stored, FLOATS))
    parts = {
        "weight": Part(("F8_E4M3",), shape),
        "weight_scale": _scale_part(arguments, shape, FLOATS),
    }
    decode = partial(_decode_bytes, scheme=scheme, shape=shape)
    return Layer(parts=parts, decode=decode, about=scheme.name, scheme=scheme)


def _mx_bytes(arguments: Arguments, shape: tuple[int, int], stored: Stored) -> Layer:
    """``mxfp8-quantized``."""
    del arguments, stored
    scheme = stored_scheme(c.E4M3, PerGroup(32), "U8")
    parts = {
        "weight": Part(("F8_E4M3",), shape),
        "weight_scale": Part(("U8", "F8_E8M0"), scheme.scale_shape(shape)),
    }
    decode = partial(_decode_bytes, scheme=scheme, shape=shape)
    return Layer(parts=parts, decode=decode, about=scheme.name, scheme=scheme)


def _mx_packed(
    arguments: Arguments, shape: tuple[int, int], stored: Stored, *, element: Format
) -> Layer:
    """``mxfp4-pack-quantized`` and ``mxfp6-pack-quantized``."""
    del arguments, stored
    scheme = stored_scheme(element, PerGroup(32), "U8")
    parts = {
        "weight_packed": Part(("U8",), (shape[0], shape[1] * element.bits // 8)),
        "weight_scale": Part(("U8", "F8_E8M0"), scheme.scale_shape(shape)),
    }
    decode = partial(_decode_floats, scheme=scheme, shape=shape)
    return Layer(parts=parts, decode=decode, about=scheme.name, scheme=scheme)


def _decode_floats(arrays: Arrays, *, scheme: Any, shape: tuple[int, int]) -> Grid:
    return Grid(
        scheme=scheme,
        shape=shape,
        stream=arrays["weight_packed"],
        bits=scheme.element.bits,
        side={"scales": scales_of(arrays["weight_scale"], scheme, shape)},
    )


def _nvfp4(arguments: Arguments, shape: tuple[int, int], stored: Stored) -> Layer:
    """``nvfp4-pack-quantized``: E2M1 in groups of 16; the global scale divides."""
    del arguments, stored
    scheme = stored_scheme(c.E2M1, PerGroup(16), "F8_E4M3", two_level=True)
    parts = {
        "weight_packed": Part(("U8",), (shape[0], shape[1] // 2)),
        "weight_scale": Part(("F8_E4M3",), scheme.scale_shape(shape)),
        "weight_global_scale": Part(("F32",), (1,)),
    }
    decode = partial(_decode_nvfp4, scheme=scheme, shape=shape)
    return Layer(parts=parts, decode=decode, about=scheme.name, scheme=scheme)


def _decode_nvfp4(arrays: Arrays, *, scheme: Any, shape: tuple[int, int]) -> Grid | np.ndarray:
    divisor = arrays["weight_global_scale"].reshape(()).astype(np.float32)
    with np.errstate(all="ignore"):  # the caller checks values
        factor = np.float32(1) / divisor
    grid = Grid(
        scheme=scheme,
        shape=shape,
        stream=arrays["weight_packed"],
        bits=4,
        side={"scales": arrays["weight_scale"], "tensor_scale": np.asarray(factor)},
    )
    scales = arrays["weight_scale"].astype(np.float32)
    with np.errstate(all="ignore"):
        quotients = scales / divisor
        if np.array_equal(quotients, scales * factor):
            return grid
    # No scale of the tensor divides all quotients: each block keeps its scale in float32.
    exact = stored_scheme(c.E2M1, PerGroup(16), "F32")
    return replace(grid, scheme=exact, side={"scales": quotients})


#: Reader of a layer of each format.
FORMATS: dict[str, Callable[[Arguments, tuple[int, int], Stored], Layer]] = {
    "pack-quantized": _packed,
    "int-quantized": _integers,
    "naive-quantized": _integers,
    "float-quantized": _floats,
    "mxfp8-quantized": _mx_bytes,
    "mxfp4-pack-quantized": partial(_mx_packed, element=c.E2M1),
    "mxfp6-pack-quantized": partial(_mx_packed, element=c.E2M3),
    "nvfp4-pack-quantized": _nvfp4,
}


def _with_activations(layer: Layer, group: Group, shape: tuple[int, int]) -> Layer:
    """Add the scheme of a layer's inputs, and the tensors that it may have."""
    numbers = {f"{place}_scale": Part(FLOATS, (1,)) for place in ("input", "output")}
    numbers |= {f"{place}_global_scale": Part(("F32",), (1,)) for place in ("input",)}
    numbers |= {"input_zero_point": Part(("I8", "I32", "F8_E4M3"), (1,))}
    inputs = group.inputs
    if inputs is None:
        return replace(layer, others={**numbers, **layer.others})

    def activations(arrays: Arrays) -> Scheme | None:
        given = [arrays[n] for n in ("input_global_scale", "input_scale") if n in arrays]
        return _activation_scheme(inputs, given)

    del shape
    return replace(layer, others={**numbers, **layer.others}, activations=activations)


def _activation_scheme(arguments: Arguments, scales: list[np.ndarray]) -> Scheme | None:
    """Return the scheme of activations or of a cache."""
    element = arguments.element
    if element is None or not arguments.symmetric:
        raise ValueError(f"{arguments.about} activations are not supported")
    if arguments.scale_type == "U8":
        return stored_scheme(element, PerGroup(32), "U8")
    if arguments.strategy == "tensor_group":
        if not scales:
            raise ValueError("activations in NVFP4 need an input_global_scale")
        with np.errstate(divide="ignore"):
            second = np.float32(1) / scales[0].reshape(()).astype(np.float32)
        scheme = stored_scheme(element, PerGroup(16), "F8_E4M3", two_level=True)
        return replace(scheme, static_scale=float(second))
    if arguments.dynamic:
        size = arguments.group_size if arguments.strategy == "group" else None
        return dynamic_scheme(element, PerGroup(size) if size else None)
    if not scales:
        raise ValueError("a static scale of activations is not in the file")
    return static_scheme(element, np.stack([np.max(scale) for scale in scales]))
