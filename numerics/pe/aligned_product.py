"""Matrix products as BitMoD's PE computes them, in JAX, so that models can run through it.

Activations are rounded to FP16, which is all that the PE reads. Each group of weights starts a new
accumulator (:mod:`numerics.pe.aligned`); groups that end within a beat go on with zeros. A group's
result, which float32 holds exactly, is multiplied by the scale and added to the ones before it as
:mod:`numerics.dot` says, both in float32.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float32, UInt, UInt8

from numerics import _groups
from numerics.cast import encode
from numerics.division import from_bits, multiply
from numerics.element_scheme import ElementScheme, ZeroPoint
from numerics.float32 import BIAS
from numerics.float32 import MANTISSA_BITS as FLOAT32_MANTISSA_BITS
from numerics.formats import FP16
from numerics.granularity import PerGroup
from numerics.mixtures.bitmod import BitMod
from numerics.mixtures.selected import SelectedFormat
from numerics.pe.aligned import UNIT_EXPONENT, AlignedDot
from numerics.pe.aligned_arrays import accumulators, check_bits
from numerics.scheme import Scheme
from numerics.tensor import QuantizedTensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlignedMatrix:
    """A quantized matrix whose products are those of a PE; a JAX pytree."""

    weight: QuantizedTensor
    pe: AlignedDot


jax.tree_util.register_dataclass(AlignedMatrix, data_fields=["weight"], meta_fields=["pe"])


def check_aligned(scheme: Scheme, pe: AlignedDot, length: int) -> None:
    """Raise ValueError if a PE can't read a scheme's rows of some length.

    >>> from numerics import SCHEMES
    >>> from numerics.pe.models import ALIGNED
    >>> check_aligned(SCHEMES["bitmod-fp4"], ALIGNED["bitmod-fp4-aligned"], 4096)
    """
    wanted = pe.generator.weights
    if isinstance(scheme, BitMod) and isinstance(wanted, SelectedFormat):
        fits = scheme.formats == wanted.candidates
    else:
        fits = isinstance(scheme, ElementScheme) and _is_plain(scheme) and scheme.element == wanted
    if not fits:
        raise ValueError(
            f"the PE reads codes of {wanted.name}, with one scale a group; {scheme.name} has others"
        )
    group = _group(scheme, length)
    pe.check(group + -group % pe.lanes)
    check_bits(pe)


def _group(scheme: Scheme, length: int) -> int:
    return min(scheme.group_size or length, length)


def _is_plain(scheme: ElementScheme) -> bool:
    has_one_scale = not scheme.has_power_of_two_scales and not scheme.tensor_scale
    return has_one_scale and scheme.zero_point == ZeroPoint.NONE


@jax.jit
def aligned_product(x: Float32[Array, "t k"], matrix: AlignedMatrix) -> Float32[Array, "t n"]:
    """Return ``x @ weight.T`` with every group's sum rounded as the PE rounds it.

    Raises
    ------
    ValueError
        The PE reads no such weights, or can't take groups as long.
    """
    weight, pe = matrix.weight, matrix.pe
    rows, length = weight.shape
    check_aligned(weight.scheme, pe, length)
    group = _group(weight.scheme, length)
    operands = _groups_of(_pe_codes(weight), group, pe), _groups_of(encode(FP16, x), group, pe)
    scales = jnp.broadcast_to(weight.scales.astype(jnp.float32), (rows, len(operands[0]))).T

    def add_group(total: Array, each: tuple[Array, Array, Array]) -> tuple[Array, None]:
        weight_codes, codes, scale = each
        value = _group_value(pe, weight_codes, codes)
        return total + multiply(value, scale[None, :]), None

    start = jnp.zeros((x.shape[0], rows), jnp.float32)
    total, _ = lax.scan(add_group, start, (*operands, scales))
    return total


def _pe_codes(weight: QuantizedTensor) -> UInt8[Array, "n k"]:
    """Return codes as the PE reads them, with the group's selector in front where there is one."""
    scheme, codes = weight.scheme, weight.codes
    if not isinstance(scheme, BitMod):
        return codes
    blocks = _groups.split_groups(codes, PerGroup(scheme.size))
    selectors = _groups.split_scales(weight.arrays["selectors"], blocks)
    chosen = [
        block | selector[..., None] << scheme.weight_bits
        for block, selector in zip(blocks, selectors, strict=True)
    ]
    return _groups.join_groups(chosen, codes.shape)


def _groups_of(
    codes: UInt[Array, "rows k"], group: int, pe: AlignedDot
) -> UInt[Array, "groups beats lanes rows"]:
    """Return codes by groups, beats and lanes; code 0 is the number 0."""
    rows, length = codes.shape
    codes = jnp.pad(codes, ((0, 0), (0, -length % group)))
    codes = codes.reshape(rows, -1, group)
    codes = jnp.pad(codes, ((0, 0), (0, 0), (0, -group % pe.lanes)))
    return codes.reshape(rows, codes.shape[1], -1, pe.lanes).transpose(1, 2, 3, 0)


def _group_value(
    pe: AlignedDot,
    weight_codes: UInt[Array, "beats lanes n"],
    codes: UInt[Array, "beats lanes t"],
) -> Float32[Array, "t n"]:
    """Return what the accumulators are worth after a group, in values of the weights' format."""
    shape = codes.shape[-1], weight_codes.shape[-1]
    mantissas, exponents = accumulators(
        pe, weight_codes[:, :, None], codes[:, :, :, None], shape=shape
    )
    powers = exponents + (UNIT_EXPONENT - pe.guard_bits + BIAS)
    values: Array = mantissas.astype(jnp.float32) * from_bits(powers << FLOAT32_MANTISSA_BITS)
    return values * np.float32(pe.generator.unit)
