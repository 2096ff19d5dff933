"""Array code of the GGUF schemes."""

from functools import partial

import jax
from jax import Array
from jaxtyping import Float32

from numerics.gguf.decoding import decode
from numerics.gguf.encoded import to_blocks, to_values
from numerics.gguf.encoding import encode
from numerics.gguf.scheme import GgufScheme
from numerics.schemes.tensor import QuantizedTensor


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: GgufScheme) -> QuantizedTensor:
    """Return the blocks of rows that are whole blocks."""
    kind = scheme.block_type
    blocks = to_blocks(kind, encode(kind, _in_blocks(x, kind.values)))
    rows = blocks.reshape(scheme.layout(x.shape)[0].shape)
    return QuantizedTensor(arrays={"blocks": rows}, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return the values of the blocks."""
    scheme = q.scheme
    assert isinstance(scheme, GgufScheme)
    blocks = _in_blocks(q.arrays["blocks"], scheme.block_type.size)
    return decode(scheme.block_type, blocks).reshape(*q.arrays["blocks"].shape[:-1], -1)


@partial(jax.jit, static_argnames="scheme")
def fake_quantize(x: Float32[Array, "*shape"], scheme: GgufScheme) -> Float32[Array, "*shape"]:
    """Return ``dequantize(quantize(x))``."""
    kind = scheme.block_type
    return to_values(kind, encode(kind, _in_blocks(x, kind.values))).reshape(x.shape)


def _in_blocks(rows: Array, size: int) -> Array:
    return rows.reshape(*rows.shape[:-1], rows.shape[-1] // size, size)
