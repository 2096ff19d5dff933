"""Quantized tensors as bytes: the arrays as they are stored on disk, and back bit for bit."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from numerics.arithmetic.packing import pack, packed_bytes, unpack
from numerics.schemes.scheme import Field, Scheme
from numerics.schemes.tensor import QuantizedTensor

Packed = Mapping[str, UInt8[np.ndarray, " bytes"]]


def to_bytes(q: QuantizedTensor) -> dict[str, UInt8[np.ndarray, " bytes"]]:
    """Return the arrays of ``q`` by name: codes packed low bits first, floats little-endian.

    Examples
    --------
    >>> from numerics import parse_scheme, quantize
    >>> q = quantize(jnp.float32([[1.0, -7.0, 0.4, 2.5]]), parse_scheme("int4:g4:fp32"))
    >>> {name: array.tobytes().hex() for name, array in to_bytes(q).items()}
    {'codes': '9120', 'scales': '0000803f'}
    """
    return {
        field.name: _packed(field, np.asarray(q.arrays[field.name]))
        for field in q.scheme.layout(q.shape)
    }


def from_bytes(scheme: Scheme, shape: tuple[int, ...], packed: Packed) -> QuantizedTensor:
    """Return the tensor that :func:`to_bytes` packed; the sizes of all arrays must be right."""
    fields = scheme.layout(shape)
    names = [field.name for field in fields]
    if sorted(packed) != sorted(names):
        raise ValueError(
            f"{scheme.name} stores {', '.join(names)}, not {', '.join(sorted(packed)) or 'nothing'}"
        )
    for field in fields:
        given, needed = packed[field.name].size, stored_bytes(field)
        if given != needed:
            raise ValueError(
                f"{field.name} of {scheme.name} for a tensor of shape {list(shape)} take "
                f"{needed} bytes, not {given}"
            )
    arrays = {field.name: jnp.asarray(_unpacked(field, packed[field.name])) for field in fields}
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=shape)


def stored_bytes(field: Field) -> int:
    """Return the bytes of a stored array."""
    return -(-field.total_bits // 8)


def _is_packed(field: Field) -> bool:
    return field.bits < 8 * field.dtype.itemsize


def _packed(field: Field, array: np.ndarray) -> UInt8[np.ndarray, " bytes"]:
    if _is_packed(field):
        return pack(array, bits=field.bits)
    little = np.ascontiguousarray(array).reshape(-1).view(f"<u{field.dtype.itemsize}")
    return little.view(np.uint8)


def _unpacked(field: Field, stored: UInt8[np.ndarray, " bytes"]) -> np.ndarray:
    if _is_packed(field):
        count = field.total_bits // field.bits
        assert packed_bytes(count, field.bits) == stored.size
        return unpack(stored, bits=field.bits, count=count).reshape(field.shape)
    words = np.ascontiguousarray(stored).view(f"<u{field.dtype.itemsize}")
    return words.astype(f"=u{field.dtype.itemsize}").view(field.dtype).reshape(field.shape)
