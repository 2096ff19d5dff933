"""Array code of BitMoD with 8-bit scales: the twin of ``bitmod_scaled.second_level``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float32

from numerics.arithmetic.cast import round_to
from numerics.arithmetic.division import divide, fence, multiply
from numerics.formats import FP16
from numerics.mixtures import bitmod_arrays
from numerics.mixtures.bitmod_scaled import TOP, BitModScaled
from numerics.schemes import grouping
from numerics.schemes.granularity import PerGroup
from numerics.schemes.tensor import QuantizedTensor

SMALLEST = float(np.finfo(np.float16).smallest_subnormal)


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: BitModScaled) -> QuantizedTensor:
    """Return codes, scale codes, scales and selectors."""
    plain = bitmod_arrays.quantize(x, scheme.plain)
    wanted = plain.scales.astype(jnp.float32)
    is_bad = jnp.isnan(wanted).any(-1)
    wanted = jnp.where(is_bad[..., None], 1, wanted)
    of_row = round_to(FP16, divide(jnp.max(wanted, axis=-1), float(TOP)))
    of_row = fence(jnp.maximum(of_row, SMALLEST))
    scale_codes = jnp.clip(jnp.round(divide(wanted, of_row[..., None])), 1, TOP)
    scales = fence(multiply(scale_codes, of_row[..., None]))
    selectors = plain.arrays["selectors"].astype(jnp.int32)
    kept = jnp.where(is_bad[..., None], 0, x)
    blocks = grouping.split_groups(kept, PerGroup(scheme.size))
    parts = [grouping.split_scales(part, blocks) for part in (selectors, scales)]
    codes = [
        bitmod_arrays.codes_of(block, selector, scale, scheme.plain)
        for block, selector, scale in zip(blocks, *parts, strict=True)
    ]
    arrays = {
        "codes": jnp.where(is_bad[..., None], np.uint8(0), grouping.join_groups(codes, x.shape)),
        "scale_codes": scale_codes.astype(jnp.uint8),
        "scales": jnp.where(is_bad, jnp.nan, of_row).astype(jnp.float16),
        "selectors": jnp.where(is_bad[..., None], 0, selectors).astype(jnp.uint8),
    }
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``number(code) * (q * c)``."""
    scheme = q.scheme
    assert isinstance(scheme, BitModScaled)
    of_row = q.scales.astype(jnp.float32)[..., None]
    scales = multiply(q.arrays["scale_codes"].astype(jnp.float32), of_row)
    blocks = grouping.split_groups(q.codes, PerGroup(scheme.size))
    parts = [grouping.split_scales(part, blocks) for part in (scales, q.arrays["selectors"])]
    tables = jnp.asarray(np.array([fmt.values for fmt in scheme.formats], np.float32))
    values = [
        multiply(tables[chosen[..., None], codes], scale[..., None])
        for codes, scale, chosen in zip(blocks, *parts, strict=True)
    ]
    return jnp.where(jnp.isnan(of_row), jnp.nan, grouping.join_groups(values, q.shape))
