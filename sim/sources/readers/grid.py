"""A matrix of codes under an element scheme, as a checkpoint stores it: decoded fast, or exposed.

Decoding looks every byte of codes up in a table of the float32 values that it holds, and multiplies
by the scales of groups while the values are in the cache; rows are split over threads.
"""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Shaped, UInt8

from numerics.formats import Format
from numerics.schemes.element import ElementScheme
from numerics.schemes.granularity import PerGroup
from sim.sources.readers.bit_stream import unpack_rows

if TYPE_CHECKING:
    from numerics import QuantizedTensor

#: Values decoded at a time, so that they stay in the cache between lookup and multiplication.
CHUNK_VALUES = 1 << 16
#: Values from which on threads share a matrix.
THREADED_VALUES = 1 << 20
#: Array types of as many bytes as the float32 values that one byte of codes holds.
_WIDE = {1: np.float32, 2: np.uint64, 4: np.complex128}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """Codes and side data of a matrix (out, in).

    ``stream`` has the codes of each row, low bits first; code ``c`` of it is ``c ^ flip`` of the
    scheme. The other arrays are those of ``scheme.layout``.
    """

    scheme: ElementScheme
    shape: tuple[int, int]
    stream: UInt8[np.ndarray, "out bytes"]
    #: Bits of a stored code, which may have more than the scheme's.
    bits: int
    flip: int = 0
    side: Mapping[str, Shaped[np.ndarray, "..."]] = field(default_factory=dict)

    def values(self) -> Float32[np.ndarray, "out in"]:
        """Return ``(element - zero point) * scale``, the products rounded to float32."""
        stream, bits, columns = self.stream, self.bits, self.shape[1]
        per_byte = 8 // bits
        if 8 % bits or per_byte not in _WIDE or columns % per_byte:
            stream, bits, per_byte = unpack_rows(stream, bits, columns), 8, 1
        out = np.empty(self.shape, np.float32)
        stream = np.ascontiguousarray(stream[:, : columns // per_byte])
        table = _byte_values(self.scheme.element, bits, self.flip)
        rows = max(1, CHUNK_VALUES // columns)
        zeros, scales = self.side.get("zero_points"), self._scales()

        def decode(start: int) -> None:
            part = slice(start, start + rows)
            np.take(table, stream[part], out=out[part].view(table.dtype), mode="clip")
            for columns_of, groups in self._blocks():
                block = out[part, columns_of].reshape(len(out[part]), groups[1] - groups[0], -1)
                if zeros is not None:
                    block -= _of(zeros, part, groups).astype(np.float32)
                block *= _of(scales, part, groups)
                if not np.may_share_memory(block, out):  # a part of each row is copied
                    out[part, columns_of] = block.reshape(len(block), -1)

        starts = range(0, self.shape[0], rows)
        with np.errstate(over="ignore", invalid="ignore"):  # the caller checks values
            if out.size < THREADED_VALUES:
                for start in starts:
                    decode(start)
            else:
                with ThreadPoolExecutor(os.cpu_count()) as pool:
                    list(pool.map(decode, starts))
        return out

    def rows(self, start: int, stop: int) -> "Grid":
        """Return some rows of the matrix."""
        if (start, stop) == (0, self.shape[0]):
            return self
        rows, part = self.shape[0], slice(start, stop)
        side = {
            name: array[part] if array.ndim == 2 and len(array) == rows > 1 else array
            for name, array in self.side.items()
        }
        return replace(
            self, shape=(stop - start, self.shape[1]), stream=self.stream[part], side=side
        )

    def quantized(self) -> "QuantizedTensor | None":
        """Return the tensor in its scheme; ``None`` where a scale is negative or not finite."""
        import jax.numpy as jnp

        from numerics import QuantizedTensor

        scales = self._scales()
        if not (np.isfinite(scales).all() and (scales >= 0).all()):
            return None
        codes = unpack_rows(self.stream, self.bits, self.shape[1]) ^ np.uint8(self.flip)
        codes = codes & np.uint8((1 << self.scheme.element.bits) - 1)
        fields = {f.name: f for f in self.scheme.layout(self.shape)}
        arrays = {name: array.reshape(fields[name].shape) for name, array in self.side.items()}
        return QuantizedTensor(
            arrays={n: jnp.asarray(a) for n, a in {"codes": codes, **arrays}.items()},
            scheme=self.scheme,
            shape=self.shape,
        )

    def _scales(self) -> Float32[np.ndarray, "..."]:
        """Return scales as float32; under a second level the rounded product of both."""
        with np.errstate(over="ignore", invalid="ignore"):
            scales = self.side["scales"].astype(np.float32)
            if "tensor_scale" in self.side:
                scales = scales * self.side["tensor_scale"].astype(np.float32)
        return scales

    def _blocks(self) -> tuple[tuple[slice, tuple[int, int]], ...]:
        """Return columns and range of groups of the full groups and of a shorter last one."""
        columns = self.shape[1]
        size = self.scheme.group_size if isinstance(self.scheme.granularity, PerGroup) else None
        if size is None or size >= columns:
            return ((slice(0, columns), (0, 1)),)
        full = columns // size
        blocks = [(slice(0, full * size), (0, full))]
        if full * size < columns:
            blocks.append((slice(full * size, columns), (full, full + 1)))
        return tuple(blocks)


def _of(side: np.ndarray, rows: slice, groups: tuple[int, int]) -> np.ndarray:
    """Return the entries of some rows and groups as (rows, groups, 1); one scale for all as is."""
    if side.size == 1:
        return side.reshape(1, 1, 1)
    return side.reshape(len(side), -1)[rows, groups[0] : groups[1], None]


@lru_cache(maxsize=64)
def _byte_values(element: Format, bits: int, flip: int) -> np.ndarray:
    """Return the values of the codes in each byte, those of a byte as one wide entry."""
    mask = (1 << element.bits) - 1
    values = np.array(element.values, np.float32)
    codes = unpack_rows(np.arange(256, dtype=np.uint8)[:, None], bits, 8 // bits)
    wide = np.ascontiguousarray(values[(codes ^ flip) & mask])
    return wide.view(_WIDE[wide.shape[1]]).reshape(256)
