"""AWQ checkpoints of AutoAWQ, in the layouts ``gemm`` and ``gemv``.

Source: AutoAWQ 88e4c76. ``gemm`` packs eight outputs in a word, in an order of its own; ``gemv``
packs inputs, low bits first, and pads scales and zero points.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from numerics.formats import INTEGERS
from numerics.schemes.granularity import PerChannel, PerGroup
from sim.sources.readers.bit_stream import unpack_rows, word_bytes
from sim.sources.readers.gptq import Numbers, read_numbers
from sim.sources.readers.grid import Grid
from sim.sources.readers.layer import FLOATS, Arrays, Layer, Part, Stored
from sim.sources.readers.layout import FloatCache
from sim.sources.readers.schemes import stored_scheme
from sim.sources.readers.settings import Settings

#: Codes of a word, and the nibble that holds each of eight neighbouring outputs.
PER_WORD = 8
NIBBLES = (0, 4, 1, 5, 2, 6, 3, 7)
#: Inputs transposed at a time, so that they stay in the cache.
TILE = 256
BITS = 4
VERSIONS = ("gemm", "gemv")


@dataclass(frozen=True, kw_only=True)
class Awq(FloatCache):
    """The settings of a checkpoint; see :class:`sim.sources.readers.layout.Layout`."""

    title: str
    numbers: Numbers
    version: str

    def layer(self, module: str, shape: tuple[int, int], stored: Stored) -> Layer | None:
        """Return how a matrix is stored; ``None`` if it is in floating point."""
        if "qweight" not in stored:
            return None
        del module
        return (gemm_layer if self.version == "gemm" else _gemv_layer)(self.numbers, shape, stored)


def open_layout(settings: Mapping[str, Any], metadata: Mapping[str, str]) -> Awq:
    """Read the settings; raise ``ValueError`` for unknown ones."""
    del metadata
    reader = Settings(settings, "AWQ settings")
    version = reader.text("version", default="gemm").lower()
    if version not in VERSIONS:
        raise ValueError(f"version {version} can't be read; {' and '.join(VERSIONS)} can")
    numbers = read_numbers(reader)
    if numbers.bits != BITS:
        raise reader.wrong("bits", numbers.bits, "must be 4")
    has_zeros = reader.flag("zero_point", default=True)
    numbers = Numbers(bits=BITS, group_size=numbers.group_size, symmetric=not has_zeros)
    return Awq(title=f"AWQ ({version})", numbers=numbers, version=version)


def _scheme(numbers: Numbers, stored: Stored) -> Any:
    scales = stored.get("scales")
    kind = scales.type if scales is not None and scales.type in FLOATS else "F16"
    size = numbers.group_size
    element = INTEGERS[BITS, "full" if numbers.symmetric else "unsigned"]
    return stored_scheme(element, PerChannel() if size is None else PerGroup(size), kind)


def gemm_layer(numbers: Numbers, shape: tuple[int, int], stored: Stored) -> Layer:
    """Return a layer of the layout ``gemm``."""
    rows, columns = shape
    if rows % PER_WORD:
        raise ValueError(f"{rows} outputs do not fill the words of AWQ, which hold {PER_WORD}")
    groups = 1 if numbers.group_size is None else -(-columns // numbers.group_size)
    parts = {
        "qweight": Part(("I32",), (columns, rows // PER_WORD)),
        "scales": Part(FLOATS, (groups, rows)),
    }
    if not numbers.symmetric:
        parts["qzeros"] = Part(("I32",), (groups, rows // PER_WORD))
    scheme = _scheme(numbers, stored)
    decode = partial(_decode_gemm, scheme=scheme, shape=shape)
    return Layer(parts=parts, decode=decode, about=scheme.name, scheme=scheme)


def _decode_gemm(arrays: Arrays, *, scheme: Any, shape: tuple[int, int]) -> Grid:
    side = {"scales": np.ascontiguousarray(arrays["scales"].T)}
    if "qzeros" in arrays:
        groups = len(arrays["qzeros"])
        side["zero_points"] = unpack_rows(_outputs_first(arrays["qzeros"]), BITS, groups)
    return _grid(scheme, shape, _outputs_first(arrays["qweight"]), side)


def _grid(
    scheme: Any, shape: tuple[int, int], stream: UInt8[np.ndarray, "out bytes"], side: Arrays
) -> Grid:
    """Return the codes of a stream; those without zero points are signed, stored with an offset."""
    flip = 0 if "zero_points" in side else 1 << (BITS - 1)
    return Grid(scheme=scheme, shape=shape, stream=stream, bits=BITS, flip=flip, side=side)


def _outputs_first(words: Int32[np.ndarray, "in words"]) -> UInt8[np.ndarray, "out bytes"]:
    """Return the codes of words that hold eight outputs of one input, as a stream of inputs."""
    inputs, count = words.shape
    padded = np.pad(words, ((0, -inputs % PER_WORD), (0, 0))) if inputs % PER_WORD else words
    stream = np.empty((count, PER_WORD, len(padded) // PER_WORD), np.uint32)
    for start in range(0, len(padded), TILE):
        block = _transposed_nibbles(padded[start : start + TILE].view(np.uint32))
        part = slice(start // PER_WORD, start // PER_WORD + len(block[0]))
        for nibble, inputs_of in enumerate(block):
            stream[:, NIBBLES.index(nibble), part] = inputs_of.T
    return word_bytes(stream.reshape(count * PER_WORD, -1))


def _transposed_nibbles(words: np.ndarray) -> list[np.ndarray]:
    """Return for each of eight nibbles the words of eight neighbouring rows' nibbles.

    >>> rows = np.arange(8, dtype=np.uint32)[:, None] + 0x10
    >>> [hex(int(word[0, 0])) for word in _transposed_nibbles(rows)[:2]]
    ['0x76543210', '0x11111111']
    """
    rows = [words[place::PER_WORD].copy() for place in range(PER_WORD)]
    for distance, mask in ((1, 0x0F0F0F0F), (2, 0x00FF00FF), (4, 0x0000FFFF)):
        shift = np.uint32(4 * distance)
        for place in range(PER_WORD):
            if not place & distance:
                low, high = rows[place], rows[place + distance]
                swapped = ((low >> shift) ^ high) & np.uint32(mask)
                high ^= swapped
                low ^= swapped << shift
    return rows


def _gemv_layer(numbers: Numbers, shape: tuple[int, int], stored: Stored) -> Layer:
    """Return a layer of the layout ``gemv``."""
    rows, columns = shape
    size = numbers.group_size or columns
    if columns % PER_WORD:
        raise ValueError(f"{columns} inputs do not fill the words of AWQ, which hold {PER_WORD}")
    groups = -(-columns // size)
    multiple = 1 if size >= 128 else 2 if size == 64 else 4
    words = math.ceil(groups / (PER_WORD * multiple)) * multiple
    parts = {
        "qweight": Part(("I32",), (rows, columns // PER_WORD)),
        "scales": Part(FLOATS, (rows, PER_WORD * words)),
    }
    if not numbers.symmetric:
        parts["qzeros"] = Part(("I32",), (rows, words))
    scheme = _scheme(numbers, stored)
    decode = partial(_decode_gemv, scheme=scheme, shape=shape, groups=groups)
    return Layer(parts=parts, decode=decode, about=scheme.name, scheme=scheme)


def _decode_gemv(arrays: Arrays, *, scheme: Any, shape: tuple[int, int], groups: int) -> Grid:
    side = {"scales": np.ascontiguousarray(arrays["scales"][:, :groups])}
    if "qzeros" in arrays:
        side["zero_points"] = unpack_rows(word_bytes(arrays["qzeros"]), BITS, groups)
    return _grid(scheme, shape, word_bytes(arrays["qweight"]), side)
