"""Array code of groups in one of several formats."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float32

from numerics.arithmetic.cast import decode
from numerics.arithmetic.division import fence, multiply
from numerics.mixtures.grouped import Grouped
from numerics.schemes import grouping
from numerics.schemes.granularity import PerGroup
from numerics.schemes.scales import tree_sum
from numerics.schemes.tensor import QuantizedTensor


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: Grouped) -> QuantizedTensor:
    """Return codes, scales and selectors."""
    tried = [candidate.quantize(x) for candidate in scheme.schemes]
    groups = scheme.layout(x.shape)[2].shape
    errors = jnp.stack([_errors(x, q, scheme, groups) for q in tried])
    is_bad = jnp.isnan(tried[0].scales)
    selectors = fence(jnp.where(is_bad, 0, jnp.argmin(errors, axis=0)).astype(jnp.int32))
    by_value = _spread(selectors, x.shape, scheme)
    codes = jnp.stack([q.codes for q in tried])
    scales = jnp.stack([q.scales for q in tried])
    arrays = {
        "codes": jnp.take_along_axis(codes, by_value[None], axis=0)[0],
        "scales": jnp.take_along_axis(scales, selectors[None], axis=0)[0],
        "selectors": selectors.astype(jnp.uint8),
    }
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return ``number(code) * scale``."""
    scheme = q.scheme
    assert isinstance(scheme, Grouped)
    numbers = jnp.stack([decode(fmt, q.codes) for fmt in scheme.candidates])
    by_value = _spread(q.arrays["selectors"].astype(jnp.int32), q.shape, scheme)
    number = jnp.take_along_axis(numbers, by_value[None], axis=0)[0]
    scales = _spread(q.scales.astype(jnp.float32), q.shape, scheme)
    return jnp.where(jnp.isnan(scales), jnp.nan, multiply(number, scales))


def _errors(
    x: Float32[Array, "*shape"], q: QuantizedTensor, scheme: Grouped, groups: tuple[int, ...]
) -> Float32[Array, "*groups"]:
    difference = jnp.abs(q.dequantize() - x)
    blocks = grouping.split_groups(multiply(difference, difference), PerGroup(scheme.size))
    return grouping.join_scales([tree_sum(block) for block in blocks], groups)


def _spread(of_groups: Array, shape: tuple[int, ...], scheme: Grouped) -> Array:
    """Repeat per-group numbers for each value of their group."""
    spread: Array = jnp.repeat(of_groups, scheme.size, axis=-1)[..., : shape[-1]]
    return spread
