"""Array code of searched formats and scales: the twin of ``searched.search_row``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float32

from numerics.arithmetic.cast import decode, encode, round_element
from numerics.arithmetic.division import divide, fence, float_bits, from_bits, multiply, sign_bits
from numerics.arithmetic.float32 import (
    HIDDEN_BIT,
    INFINITY_BITS,
    MAGNITUDE_MASK,
    MAX_FLOAT32,
    MIN_NORMAL,
)
from numerics.formats import Format
from numerics.mixtures.searched import Searched
from numerics.schemes.scales import tree_sum
from numerics.schemes.tensor import QuantizedTensor

Rows = Float32[Array, "rows n"]
PerRow = Float32[Array, " rows"]


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: Searched) -> QuantizedTensor:
    """Return codes, scales and selector."""
    rows = x.reshape(-1, x.shape[-1])
    magnitudes = float_bits(rows) & MAGNITUDE_MASK
    largest = jnp.max(magnitudes, axis=-1)
    is_bad = largest >= INFINITY_BITS
    kept = jnp.where(magnitudes < HIDDEN_BIT, sign_bits(rows), float_bits(rows))
    rows = from_bits(jnp.where(is_bad[:, None], 0, kept))
    amax = from_bits(jnp.where(is_bad | (largest < HIDDEN_BIT), 0, largest))
    found = [_search(rows, amax, fmt, scheme.trials) for fmt in scheme.candidates]
    totals = jnp.stack([tree_sum(errors) for _, errors in found])
    selector = fence(jnp.argmin(totals).astype(jnp.int32))
    scales = jnp.stack([scales for scales, _ in found])[selector]
    codes = lax.switch(
        selector, [partial(row_codes, fmt) for fmt in scheme.candidates], rows, scales
    )
    code_field, scale_field, _ = scheme.layout(x.shape)
    arrays = {
        "codes": jnp.where(is_bad[:, None], np.uint8(0), codes).reshape(code_field.shape),
        "scales": jnp.where(is_bad, jnp.nan, scales).reshape(scale_field.shape),
        "selector": selector.astype(jnp.uint8).reshape(1),
    }
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return the numbers of the codes times the scale of their row."""
    scheme = q.scheme
    assert isinstance(scheme, Searched)
    decoders = [partial(decode, fmt) for fmt in scheme.candidates]
    numbers = lax.switch(q.arrays["selector"][0].astype(jnp.int32), decoders, q.codes)
    scales = q.scales[..., None]
    return jnp.where(jnp.isnan(scales), jnp.nan, multiply(numbers, scales))


def _search(
    rows: Rows, amax: PerRow, fmt: Format, trials: tuple[float, ...]
) -> tuple[PerRow, PerRow]:
    """Return the best scale of each row and its squared error, the first on ties."""

    def step(best: tuple[PerRow, PerRow], factor: Array) -> tuple[tuple[PerRow, PerRow], None]:
        alpha = jnp.minimum(multiply(amax, factor), np.float32(MAX_FLOAT32))
        scales = fence(jnp.maximum(divide(alpha, fmt.max), np.float32(MIN_NORMAL)))
        rounded = round_element(fmt, divide(rows, scales[:, None]))
        difference = jnp.abs(multiply(rounded, scales[:, None]) - rows)
        errors = tree_sum(multiply(difference, difference))
        is_less = errors < best[1]
        return (jnp.where(is_less, scales, best[0]), jnp.where(is_less, errors, best[1])), None

    start = jnp.ones_like(amax), jnp.full_like(amax, jnp.inf)
    (scales, errors), _ = lax.scan(step, start, jnp.asarray(np.array(trials, np.float32)))
    is_zero = amax == 0
    return jnp.where(is_zero, 1, scales), jnp.where(is_zero, 0, errors)


def row_codes(fmt: Format, rows: Rows, scales: PerRow) -> Array:
    """Return the codes of rows in a format under given scales."""
    codes: Array = encode(fmt, divide(rows, scales[:, None]), overflow="satfinite")
    return codes
