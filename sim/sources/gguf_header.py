"""Read the header of a GGUF file: metadata and the place of each tensor, all checked.

Every count, length and offset is checked against the file's size before it is used, so that a
damaged or hostile file ends in one line of error, without a cost in memory or time. Layout: the
GGUF specification of ggml (docs/gguf.md), versions 2 and 3, little-endian.
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from sim.errors import UserError

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT = 32
#: Limit on everything before the tensors; the largest vocabularies take a tenth of it.
MAX_HEADER_BYTES = 64 * 2**20
MAX_NAME_BYTES = 65535
MAX_DIMENSIONS = 4

_UINT32, _BOOL, _STRING, _ARRAY = 4, 7, 8, 9
#: Type number of a metadata value: numpy type. 7, 8 and 9 are bool, string and array.
_SCALARS = {
    0: "<u1",
    1: "<i1",
    2: "<u2",
    3: "<i2",
    4: "<u4",
    5: "<i4",
    6: "<f4",
    7: "<u1",
    10: "<u8",
    11: "<i8",
    12: "<f8",
}
#: Fewest bytes of an entry: a key and a one-byte value; a name, one dimension, type and offset.
_MIN_VALUE_BYTES = 8 + 1 + 4 + 1
_MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8

Value = bool | int | float | str | list[str] | np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """Where a tensor lies. ``shape`` is outermost first, as in numpy and unlike in the file."""

    name: str
    shape: tuple[int, ...]
    type: GGMLQuantizationType
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """Metadata and tensor directory of a GGUF file."""

    path: Path
    metadata: Mapping[str, Value]
    tensors: Mapping[str, TensorInfo]


def read_header(path: Path) -> GgufHeader:
    """Read and check everything before the tensor data of the GGUF file at ``path``."""
    with path.open("rb") as file:
        cursor = _Cursor(file, path)
        tensor_count, value_count = _read_counts(cursor)
        metadata = _read_metadata(cursor, value_count)
        entries = [_read_entry(cursor) for _ in range(tensor_count)]
        start = _data_start(cursor, metadata)
        return GgufHeader(path=path, metadata=metadata, tensors=_place(cursor, entries, start))


class _Cursor:
    """Reads forward through a file; refuses to go past its end or past the header limit."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file = file
        self.path = path
        self.position = 0
        self.size = path.stat().st_size
        self.end = min(self.size, MAX_HEADER_BYTES)

    @property
    def remaining(self) -> int:
        return self.end - self.position

    def fail(self, what: str) -> NoReturn:
        raise UserError(f"{self.path} is not a readable GGUF file: {what}")

    def take(self, count: int, what: str) -> bytes:
        if count > self.remaining:
            self.fail(f"{what} of {count} bytes at byte {self.position} does not fit in the file")
        self.position += count
        return self.file.read(count)

    def uint32(self, what: str) -> int:
        return int(struct.unpack("<I", self.take(4, what))[0])

    def uint64(self, what: str) -> int:
        return int(struct.unpack("<Q", self.take(8, what))[0])

    def count(self, what: str, *, least_bytes: int) -> int:
        """Read how many entries follow, each of at least ``least_bytes``."""
        count = self.uint64(f"number of {what}")
        if count > self.remaining // least_bytes:
            self.fail(f"{count} {what} do not fit in the file")
        return count

    def text(self, what: str) -> str:
        raw = self.take(self.uint64(f"length of {what}"), what)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.fail(f"{what} before byte {self.position} is not UTF-8")

    def name(self, what: str) -> str:
        name = self.text(what)
        if not 0 < len(name) <= MAX_NAME_BYTES or not name.isprintable():
            self.fail(f"{what} before byte {self.position} is not a printable name")
        return name


def _read_counts(cursor: _Cursor) -> tuple[int, int]:
    if cursor.take(4, "magic") != MAGIC:
        cursor.fail("it does not start with the letters GGUF")
    version = cursor.uint32("version")
    if version not in (2, 3):
        is_big_endian = version & 0xFFFF == 0
        reason = "it is big-endian" if is_big_endian else f"it has version {version}"
        cursor.fail(f"{reason}; versions 2 and 3, little-endian, are supported")
    tensor_count = cursor.count("tensors", least_bytes=_MIN_TENSOR_BYTES)
    return tensor_count, cursor.count("metadata values", least_bytes=_MIN_VALUE_BYTES)


def _read_metadata(cursor: _Cursor, count: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for _ in range(count):
        key = cursor.name("metadata key")
        if key in metadata:
            cursor.fail(f"metadata key {key} occurs twice")
        metadata[key] = _read_value(cursor, key, cursor.uint32(f"type of {key}"))
    return metadata


def _read_value(cursor: _Cursor, key: str, kind: int) -> Value:
    if kind == _STRING:
        return cursor.text(key)
    if kind == _ARRAY:
        return _read_array(cursor, key)
    if kind not in _SCALARS:
        cursor.fail(f"{key} has the unknown type {kind}")
    scalar = _read_numbers(cursor, key, kind, 1)[0]
    return bool(scalar) if kind == _BOOL else scalar.item()


def _read_array(cursor: _Cursor, key: str) -> Value:
    kind = cursor.uint32(f"type of {key}")
    if kind == _STRING:
        count = cursor.count(f"strings in {key}", least_bytes=8)
        return [cursor.text(key) for _ in range(count)]
    if kind not in _SCALARS:
        cursor.fail(f"{key} is an array of the unknown or nested type {kind}")
    count = cursor.count(f"values in {key}", least_bytes=np.dtype(_SCALARS[kind]).itemsize)
    return _read_numbers(cursor, key, kind, count)


def _read_numbers(cursor: _Cursor, key: str, kind: int, count: int) -> np.ndarray:
    dtype = np.dtype(_SCALARS[kind])
    return np.frombuffer(cursor.take(count * dtype.itemsize, key), dtype)


def _read_entry(cursor: _Cursor) -> TensorInfo:
    """Read one entry of the tensor directory; its ``offset`` still counts from the data start."""
    name = cursor.name("tensor name")
    dimensions = cursor.uint32(f"dimensions of {name}")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        cursor.fail(f"tensor {name} has {dimensions} dimensions, not 1 to {MAX_DIMENSIONS}")
    shape = tuple(cursor.uint64(f"shape of {name}") for _ in range(dimensions))[::-1]
    number, offset = cursor.uint32(f"type of {name}"), cursor.uint64(f"offset of {name}")
    try:
        kind = GGMLQuantizationType(number)
    except ValueError:
        cursor.fail(f"tensor {name} has the unknown type {number}")
    block, block_bytes = GGML_QUANT_SIZES[kind]
    elements = math.prod(shape)
    is_split_vector = dimensions == 1 and block > 1  # ggml keeps vectors in floating point
    if elements == 0 or shape[-1] % block or is_split_vector:
        cursor.fail(f"tensor {name} of shape {_show(shape)} is not rows of {kind.name} blocks")
    size = elements // block * block_bytes
    return TensorInfo(name=name, shape=shape, type=kind, offset=offset, size=size)


def _show(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _data_start(cursor: _Cursor, metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    is_power_of_two = type(alignment) is int and alignment > 0 and alignment & (alignment - 1) == 0
    if not isinstance(alignment, int) or not is_power_of_two:
        cursor.fail("general.alignment is not a power of two")
    return -(-cursor.position // alignment) * alignment


def _place(cursor: _Cursor, entries: list[TensorInfo], start: int) -> dict[str, TensorInfo]:
    """Turn offsets into file positions; tensors must lie in the file and may not overlap."""
    placed: dict[str, TensorInfo] = {}
    free_from = start
    for entry in sorted(entries, key=lambda e: e.offset):
        offset = start + entry.offset
        if offset + entry.size > cursor.size:
            cursor.fail(
                f"tensor {entry.name} ends at byte {offset + entry.size}, "
                f"the file has {cursor.size}; it is cut short or damaged"
            )
        if entry.name in placed or offset < free_from:
            cursor.fail(f"tensor {entry.name} occurs twice or overlaps another")
        free_from = offset + entry.size
        placed[entry.name] = TensorInfo(
            name=entry.name, shape=entry.shape, type=entry.type, offset=offset, size=entry.size
        )
    return placed
