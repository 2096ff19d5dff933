"""Rows of a quantized tensor as tensors of their own."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import QuantizedTensor

#: Bytes of a float matrix that are rounded to nearest at a time.
PART_BYTES = 32 * 2**20


def row_parts(
    matrix: Float32[np.ndarray, "out n"], scheme: Scheme
) -> list[Float32[np.ndarray, "_ n"]]:
    """Return views of consecutive rows, so that temporary arrays of large matrices stay small."""
    count = 1 if scheme.mixes_rows else -(-matrix.nbytes // PART_BYTES)
    return np.array_split(matrix, min(count, len(matrix)))


def split_rows(q: QuantizedTensor, counts: Sequence[int]) -> list[QuantizedTensor]:
    """Return the parts of a matrix whose scheme doesn't mix rows, by their numbers of rows.

    Examples
    --------
    >>> import numpy as np
    >>> from numerics import parse_scheme, quantize
    >>> q = quantize(np.float32([[1, 2], [3, 4], [5, 6]]), parse_scheme("int4:channel"))
    >>> [part.scales.shape for part in split_rows(q, [1, 2])]
    [(1, 1), (2, 1)]
    """
    assert not q.scheme.mixes_rows
    parts, start = [], 0
    for count in counts:
        shape = (count, *q.shape[1:])
        arrays = {
            field.name: q.arrays[field.name]
            if field.is_given
            else q.arrays[field.name][start : start + count]
            for field in q.scheme.layout(shape)
        }
        parts.append(QuantizedTensor(arrays=arrays, scheme=q.scheme, shape=shape))
        start += count
    return parts


def join_rows(parts: Sequence[QuantizedTensor]) -> QuantizedTensor:
    """Return the matrix whose rows are those of the parts; the inverse of :func:`split_rows`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from numerics import parse_scheme, quantize
    >>> q = quantize(jnp.float32([[1, 2], [3, 4], [5, 6]]), parse_scheme("int4:channel"))
    >>> bool((join_rows(split_rows(q, [1, 2])).codes == q.codes).all())
    True
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    shape = (sum(part.shape[0] for part in parts), *first.shape[1:])
    arrays = {
        field.name: first.arrays[field.name]
        if field.is_given
        else jnp.concatenate([part.arrays[field.name] for part in parts])
        for field in first.scheme.layout(first.shape)
    }
    return QuantizedTensor(arrays=arrays, scheme=first.scheme, shape=shape)
