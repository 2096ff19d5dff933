"""Array code of low-rank parts."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float16, Float32

from numerics.arithmetic.cast import encode
from numerics.arithmetic.division import fence
from numerics.formats import FP16, SCALE_DTYPES
from numerics.schemes.tensor import QuantizedTensor
from numerics.structures.low_rank import LowRank


class Factors(NamedTuple):
    """FP16 factors of the low-rank part."""

    left: Float16[Array, "rows rank"]
    right: Float16[Array, "rank columns"]

    @property
    def product(self) -> Float32[Array, "rows columns"]:
        """The low-rank matrix ``left @ right`` in float32."""
        left, right = self.left.astype(jnp.float32), self.right.astype(jnp.float32)
        return fence(jnp.matmul(left, right, precision=lax.Precision.HIGHEST))


def factorize(matrix: Float32[Array, "rows columns"], rank: int) -> Factors:
    """Return the factors of the truncated SVD of a matrix."""
    left, values, right = jnp.linalg.svd(matrix, full_matrices=False)
    root = jnp.sqrt(values[:rank])
    return Factors(_as_half(left[:, :rank] * root), _as_half(root[:, None] * right[:rank]))


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: LowRank) -> QuantizedTensor:
    """Return codes, scales and factors."""
    if scheme.rounds == 0:
        dense = scheme.dense.quantize(x)
        return _joined(dense, factorize(_left(x, dense), scheme.rank), scheme)
    best, least = None, None
    left = _matrix(jnp.where(jnp.isfinite(x), x, 0.0))
    for _ in range(scheme.rounds):
        factors = factorize(left, scheme.rank)
        # A NaN or an infinity survives the subtraction, so that the dense part keeps it.
        dense = scheme.dense.quantize(x - factors.product.reshape(x.shape))
        left = _left(x, dense)
        error = jnp.sum((left - factors.product) ** 2)
        found = _joined(dense, factors, scheme)
        if best is None or least is None:
            best, least = found, error
            continue
        is_better = error < least
        best = jax.tree.map(partial(jnp.where, is_better), found, best)
        least = jnp.minimum(error, least)
    assert best is not None
    return best


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return the sum of the dense and the low-rank part."""
    scheme = q.scheme
    assert isinstance(scheme, LowRank)
    arrays = {"codes": q.codes, "scales": q.scales}
    dense = QuantizedTensor(arrays=arrays, scheme=scheme.dense, shape=q.shape)
    product = Factors(q.arrays["left"], q.arrays["right"]).product
    return dense.dequantize() + product.reshape(q.shape)


def _joined(dense: QuantizedTensor, factors: Factors, scheme: LowRank) -> QuantizedTensor:
    arrays = {**dense.arrays, "left": factors.left, "right": factors.right}
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=dense.shape)


def _left(x: Float32[Array, "*shape"], dense: QuantizedTensor) -> Float32[Array, "rows columns"]:
    """Return the residual of the dense part, zero where it is not finite."""
    left = _matrix(x - dense.dequantize())
    return fence(jnp.where(jnp.isfinite(left), left, 0.0))


def _matrix(x: Float32[Array, "*shape"]) -> Float32[Array, "rows columns"]:
    return x.reshape(-1, x.shape[-1])


def _as_half(x: Float32[Array, "*shape"]) -> Float16[Array, "*shape"]:
    """Round to finite FP16 numbers."""
    codes = encode(FP16, fence(x), overflow="satfinite")
    return fence(lax.bitcast_convert_type(codes, SCALE_DTYPES[FP16]))
