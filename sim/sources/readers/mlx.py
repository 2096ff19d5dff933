"""MLX checkpoints: affine codes with a bias a group, MXFP4, NVFP4 and MXFP8.

Source: mlx 0.32.4. Codes are a dense stream along the inputs. An affine value is rounded to the
type of the scales after the product and after the sum.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32

from numerics.formats import constants as c
from numerics.schemes.granularity import PerGroup
from sim.sources.readers.bit_stream import unpack_rows, word_bytes
from sim.sources.readers.grid import Grid
from sim.sources.readers.layer import FLOATS, Arrays, Layer, Part, Stored
from sim.sources.readers.layout import FloatCache
from sim.sources.readers.schemes import stored_scheme
from sim.sources.readers.settings import Settings

#: Element, bits, group and storage type of the scales of each mode without biases.
MODES = {"mxfp4": (c.E2M1, 32, "U8"), "nvfp4": (c.E2M1, 16, "F8_E4M3"), "mxfp8": (c.E4M3, 32, "U8")}
BITS = (2, 3, 4, 5, 6, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Numbers of one layer."""

    bits: int
    group_size: int
    mode: str


@dataclass(frozen=True, kw_only=True)
class Mlx(FloatCache):
    """The settings of a checkpoint; see :class:`sim.sources.readers.layout.Layout`."""

    title: str
    numbers: Numbers
    #: Numbers of some modules.
    own: tuple[tuple[str, Numbers], ...] = ()

    def layer(self, module: str, shape: tuple[int, int], stored: Stored) -> Layer | None:
        """Return how a matrix is stored; ``None`` if it is in floating point."""
        if "scales" not in stored:
            return None
        numbers = dict(self.own).get(module, self.numbers)
        if numbers.mode == "affine":
            return _affine(numbers, shape, stored)
        return _floats(numbers, shape)


def open_layout(settings: Mapping[str, Any], metadata: Mapping[str, str]) -> Mlx:
    """Read the settings; raise ``ValueError`` for unknown ones."""
    del metadata
    reader = Settings(settings, "MLX settings")
    numbers = _numbers(reader, None)
    own = tuple(
        (name, _numbers(Settings(given, f"{reader.context}, {name}"), numbers))
        for name, given in settings.items()
        if isinstance(given, Mapping)
    )
    return Mlx(title=f"MLX ({numbers.mode})", numbers=numbers, own=own)


def _numbers(reader: Settings, default: Numbers | None) -> Numbers:
    mode = reader.text("mode", default=default.mode if default else "affine")
    if mode != "affine" and mode not in MODES:
        raise reader.wrong("mode", mode, f"must be one of affine, {', '.join(MODES)}")
    bits = reader.integer("bits", default=default.bits if default else 4)
    if bits not in BITS:
        raise reader.wrong("bits", bits, f"must be one of {', '.join(map(str, BITS))}")
    size = reader.integer("group_size", default=default.group_size if default else 64)
    return Numbers(bits=bits, group_size=size, mode=mode)


def _affine(numbers: Numbers, shape: tuple[int, int], stored: Stored) -> Layer:
    rows, columns = shape
    bits, size = numbers.bits, numbers.group_size
    if columns % size or columns * bits % 32:
        raise ValueError(f"{columns} inputs are not whole groups of {size} and words of 32 bits")
    del stored
    side = Part(FLOATS, (rows, columns // size))
    return Layer(
        parts={
            "weight": Part(("U32",), (rows, columns * bits // 32)),
            "scales": side,
            "biases": side,
        },
        decode=partial(_decode_affine, bits=bits, shape=shape),
        about=f"int{bits}:g{size}:mlx",
    )


def _decode_affine(
    arrays: Arrays, *, bits: int, shape: tuple[int, int]
) -> Float32[np.ndarray, "out in"]:
    scales, biases = arrays["scales"], arrays["biases"]
    if scales.dtype != biases.dtype:
        raise ValueError(f"scales are {scales.dtype} and biases {biases.dtype}")
    codes = unpack_rows(word_bytes(arrays["weight"]), bits, shape[1])
    grouped = codes.reshape(shape[0], scales.shape[1], -1)
    with np.errstate(over="ignore", invalid="ignore"):  # the caller checks values
        product = grouped.astype(scales.dtype) * scales[:, :, None]
        values = product + biases[:, :, None]
    return values.reshape(shape).astype(np.float32)


def _floats(numbers: Numbers, shape: tuple[int, int]) -> Layer:
    element, size, kind = MODES[numbers.mode]
    if shape[1] % size:
        raise ValueError(f"{shape[1]} inputs are not whole groups of {size}")
    scheme = stored_scheme(element, PerGroup(size), kind)
    return Layer(
        parts={
            "weight": Part(("U32",), (shape[0], shape[1] * element.bits // 32)),
            "scales": Part(("U8",), scheme.scale_shape(shape)),
        },
        decode=partial(_decode_floats, scheme=scheme, shape=shape),
        about=scheme.name,
        scheme=scheme,
    )


def _decode_floats(arrays: Arrays, *, scheme: Any, shape: tuple[int, int]) -> Grid:
    return Grid(
        scheme=scheme,
        shape=shape,
        stream=word_bytes(arrays["weight"]),
        bits=scheme.element.bits,
        side={"scales": arrays["scales"].view(c.SCALE_DTYPES[scheme.scale_format])},
    )
