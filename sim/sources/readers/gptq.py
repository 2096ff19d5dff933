"""GPTQ checkpoints of AutoGPTQ, GPTQModel and optimum.

Sources: GPTQModel f4c327a. Codes are packed along the inputs, zero points along the outputs. Files
of the first version store the zero point less one. Codes of 5, 6 and 7 bits are in planes
(``gptq_p``): of 32 codes first the low four bits, then the two or one above.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import UInt8

from numerics.formats import INTEGERS
from numerics.schemes.granularity import PerChannel, PerGroup
from sim.sources.readers.bit_stream import WORD, unpack_rows, word_bytes
from sim.sources.readers.grid import Grid
from sim.sources.readers.layer import FLOATS, Arrays, Layer, Part, Stored
from sim.sources.readers.layout import FloatCache
from sim.sources.readers.schemes import stored_scheme
from sim.sources.readers.settings import Settings

#: Bits of the planes of codes that do not divide a word; other codes are one dense stream.
PLANES = {5: (4, 1), 6: (4, 2), 7: (4, 2, 1)}
DENSE_BITS = (2, 3, 4, 8)
PLANAR = "gptq_p"
#: What a stored zero point lacks, by the format of the file.
ZERO_OFFSETS = {"gptq": 1, "gptq_v2": 0, PLANAR: 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Numbers of one layer."""

    bits: int
    #: Inputs that share a scale; ``None`` for all.
    group_size: int | None
    symmetric: bool


@dataclass(frozen=True, kw_only=True)
class Gptq(FloatCache):
    """The settings of a checkpoint; see :class:`sim.sources.readers.layout.Layout`."""

    title: str
    numbers: Numbers
    #: Numbers of layers whose name matches a pattern; ``None`` for layers that are not quantized.
    overrides: tuple[tuple[str, Numbers | None], ...] = ()
    #: What a stored zero point lacks.
    zero_offset: int = 1
    planar: bool = False

    def layer(self, module: str, shape: tuple[int, int], stored: Stored) -> Layer | None:
        """Return how a matrix is stored; ``None`` if it is in floating point."""
        if "qweight" not in stored:
            return None
        numbers = self._numbers_of(module)
        if numbers is None:
            raise ValueError(f"{module} is quantized, but the settings exclude it")
        return packed_layer(numbers, shape, stored, self.zero_offset, planar=self.planar)

    def _numbers_of(self, module: str) -> Numbers | None:
        matching = (numbers for text, numbers in self.overrides if re.match(text, module))
        return next(matching, self.numbers)


def open_layout(settings: Mapping[str, Any], metadata: Mapping[str, str]) -> Gptq:
    """Read the settings; raise ``ValueError`` for unknown ones."""
    del metadata
    reader = Settings(settings, "GPTQ settings")
    kind = reader.text("checkpoint_format", "format", default="gptq")
    if reader.take("is_marlin_format", default=False) is True:
        kind = "marlin"
    if kind not in ZERO_OFFSETS:
        raise ValueError(
            f"checkpoint_format {kind} is permuted for a GPU and can't be read; "
            f"{', '.join(ZERO_OFFSETS)} can"
        )
    if reader.text("pack_dtype", default="int32") != "int32":
        raise ValueError(f"pack_dtype {settings['pack_dtype']} is not supported, only int32")
    numbers = read_numbers(reader)
    return Gptq(
        title=_title(reader, kind),
        numbers=numbers,
        overrides=tuple(
            _override(pattern, own, numbers, reader.context)
            for pattern, own in reader.object("dynamic").items()
        ),
        zero_offset=ZERO_OFFSETS[kind],
        planar=kind == PLANAR,
    )


def _title(reader: Settings, kind: str) -> str:
    meta = Settings(reader.object("meta"), reader.context)
    tool = meta.take("quantizer", default="")
    tool = " ".join(map(str, tool)) if isinstance(tool, list) else str(tool)
    return f"GPTQ ({kind}{f', {tool}' if tool else ''})"


def read_numbers(reader: Settings, default: Numbers | None = None) -> Numbers:
    """Return bits, group size and symmetry; absent ones are those of ``default``."""
    bits = reader.integer("bits", "w_bit", default=default.bits if default else None)
    if bits not in (*DENSE_BITS, *PLANES):
        raise reader.wrong("bits", bits, "must be 2 to 8")
    own = default.group_size if default else None
    size = reader.integer("group_size", "q_group_size", default=own or -1, low=-1)
    return Numbers(
        bits=bits,
        group_size=size if size > 0 else None,
        symmetric=reader.flag("sym", default=default.symmetric if default else True),
    )


def _override(pattern: str, own: Any, numbers: Numbers, context: str) -> tuple[str, Numbers | None]:
    """Return one entry of ``dynamic``: ``+:`` or nothing changes numbers, ``-:`` excludes."""
    text = pattern.removeprefix("+:").removeprefix("-:")
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{context}: dynamic has the pattern {pattern!r}: {error}") from None
    if pattern.startswith("-:"):
        return text, None
    if not isinstance(own, Mapping):
        raise ValueError(f"{context}: dynamic, {pattern!r} must be an object")
    return text, read_numbers(Settings(own, f"{context}, dynamic"), numbers)


def packed_layer(
    numbers: Numbers,
    shape: tuple[int, int],
    stored: Stored,
    zero_offset: int,
    *,
    planar: bool = False,
) -> Layer:
    """Return a layer whose codes are packed along the inputs."""
    rows, columns = shape
    bits = numbers.bits
    if planar != (bits in PLANES):
        raise ValueError(f"codes of {bits} bits {'are not' if planar else 'must be'} in planes")
    if columns % WORD or (planar and rows % WORD):
        raise ValueError(f"a matrix of {rows}x{columns} does not fill the words of GPTQ")
    size = numbers.group_size
    groups = 1 if size is None else -(-columns // size)
    scales = stored.get("scales")
    scale_type = scales.type if scales is not None and scales.type in FLOATS else "F16"
    parts = {
        "qweight": Part(("I32",), (columns * bits // WORD, rows)),
        "qzeros": Part(("I32",), (groups, -(-rows * bits // WORD))),
        "scales": Part(FLOATS, (groups, rows)),
    }
    if "g_idx" in stored:
        parts["g_idx"] = Part(("I32", "I64"), (columns,))
    granularity = PerChannel() if size is None else PerGroup(size)
    kind = "full" if numbers.symmetric else "unsigned"
    scheme = stored_scheme(INTEGERS[bits, kind], granularity, scale_type)
    decode = partial(
        _decode, numbers=numbers, shape=shape, scale_type=scale_type, zero_offset=zero_offset
    )
    return Layer(parts=parts, decode=decode, about=scheme.name, scheme=scheme)


def _decode(
    arrays: Arrays, *, numbers: Numbers, shape: tuple[int, int], scale_type: str, zero_offset: int
) -> Grid | np.ndarray:
    bits, (rows, columns) = numbers.bits, shape
    stream = np.ascontiguousarray(arrays["qweight"].T)
    zero_words = np.ascontiguousarray(arrays["qzeros"])
    if bits in PLANES:
        codes, zeros = _from_planes(stream, bits), _from_planes(zero_words, bits)
        stored_bits, packed = 8, codes
    else:
        zeros = unpack_rows(word_bytes(zero_words), bits, rows)
        stored_bits, packed = bits, word_bytes(stream)
    middle, mask = 1 << (bits - 1), (1 << bits) - 1
    # Symmetric files of either version may be labelled as the other; their zeros tell.
    is_middle = numbers.symmetric and bool(np.isin(zeros, (middle - 1, middle)).all())
    is_uniform = is_middle and zeros.min() == zeros.max()
    granularity = PerChannel() if numbers.group_size is None else PerGroup(numbers.group_size)
    kind = "full" if is_uniform else "unsigned"
    scheme = stored_scheme(INTEGERS[bits, kind], granularity, scale_type)
    side = {"scales": np.ascontiguousarray(arrays["scales"].T)}
    if not is_uniform:
        shifted = (zeros.astype(np.uint16) + zero_offset) & mask
        side["zero_points"] = np.ascontiguousarray(shifted.astype(np.uint8).T)
    flip = middle if is_uniform else 0
    grid = Grid(scheme=scheme, shape=shape, stream=packed, bits=stored_bits, flip=flip, side=side)
    order = arrays.get("g_idx")
    if order is None or _is_in_order(order, numbers.group_size or columns):
        return grid
    return _in_order_of_groups(grid, order)


def _is_in_order(order: np.ndarray, size: int) -> bool:
    return bool(np.array_equal(order, np.arange(len(order)) // size))


def _in_order_of_groups(grid: Grid, order: np.ndarray) -> np.ndarray:
    """Return the values of columns whose groups are not consecutive (``desc_act``)."""
    groups = grid.side["scales"].shape[1]
    if order.min() < 0 or order.max() >= groups:
        raise ValueError(f"g_idx has groups {order.min()} to {order.max()}, not 0 to {groups - 1}")
    codes = unpack_rows(grid.stream, grid.bits, grid.shape[1]) ^ np.uint8(grid.flip)
    values = np.array(grid.scheme.element.values, np.float32)[codes]
    if "zero_points" in grid.side:
        values -= grid.side["zero_points"].astype(np.float32)[:, order]
    with np.errstate(over="ignore", invalid="ignore"):  # the caller checks values
        scaled: np.ndarray = values * grid.side["scales"].astype(np.float32)[:, order]
    return scaled


def _from_planes(words: np.ndarray, bits: int) -> UInt8[np.ndarray, "rows count"]:
    """Return codes of which every 32 fill ``bits`` words, one plane of bits after the other."""
    blocks = word_bytes(words).reshape(len(words), -1, 4 * bits)
    codes = np.zeros((*blocks.shape[:2], WORD), np.uint8)
    low, first = 0, 0
    for width in PLANES[bits]:
        plane = blocks[:, :, 4 * first : 4 * (first + width)].reshape(-1, 4 * width)
        codes |= unpack_rows(plane, width, WORD).reshape(codes.shape) << np.uint8(low)
        low, first = low + width, first + width
    joined: np.ndarray = codes.reshape(len(words), -1)
    return joined
