"""A linear layer, on float weights or on quantized ones."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32

from numerics import QuantizedTensor, Scheme, grouped_dot, quantize
from numerics.pe.product import PeMatrix, pe_product
from sim.model.straight_through import rounded

#: Quantized matrix, or a matrix multiplied as a PE with FP16 activations does.
Member = QuantizedTensor | PeMatrix
#: One float32 matrix (out, in), or quantized matrices whose rows follow one another.
Weight = Float32[Array, "out in"] | tuple[Member, ...]


def linear(
    x: Float32[Array, "t in"],
    weight: Weight,
    bias: Float32[Array, " out"] | None,
    scheme: Scheme | None,
) -> Float32[Array, "t out"]:
    """Return ``x @ weight.T + bias``, with ``x`` rounded to ``scheme`` first.

    Quantized weights meet quantized activations in exact integer dot products, group by group;
    float activations meet their dequantized values, or FP16 ones the PE of a matrix.
    """
    if isinstance(weight, tuple):
        out = jnp.concatenate([_quantized_product(x, member, scheme) for member in weight], -1)
    else:
        out = _product(x if scheme is None else rounded(x, scheme), weight)
    return out if bias is None else out + bias


def _quantized_product(
    x: Float32[Array, "t in"], weight: Member, scheme: Scheme | None
) -> Float32[Array, "t out"]:
    if isinstance(weight, PeMatrix):
        product: Array = pe_product(x, weight)
        return product
    if scheme is None:
        return _product(x, weight.dequantize())
    return grouped_dot(quantize(x, scheme), weight)


def _product(x: Float32[Array, "t in"], weight: Float32[Array, "out in"]) -> Array:
    # Full float32 products; the default of an accelerator is BF16 or TF32.
    return jnp.matmul(x, weight.T, precision=jax.lax.Precision.HIGHEST)
