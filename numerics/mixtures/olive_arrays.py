"""Array code of OliVe: the twin of ``olive.search_row``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float32

from numerics.arithmetic.cast import round_element
from numerics.arithmetic.division import divide, fence, float_bits, from_bits, multiply, sign_bits
from numerics.arithmetic.float32 import (
    HIDDEN_BIT,
    INFINITY_BITS,
    MAGNITUDE_MASK,
    MAX_FLOAT32,
    MIN_NORMAL,
)
from numerics.mixtures.olive import OUTLIERS, THRESHOLD, TRIALS, Olive
from numerics.schemes.scales import tree_sum
from numerics.schemes.tensor import QuantizedTensor

Rows = Float32[Array, "rows n"]
PerRow = Float32[Array, " rows"]


@partial(jax.jit, static_argnames="scheme")
def quantize(x: Float32[Array, "*shape"], scheme: Olive) -> QuantizedTensor:
    """Return codes and scales."""
    rows = x.reshape(-1, x.shape[-1])
    magnitudes = float_bits(rows) & MAGNITUDE_MASK
    is_bad = jnp.max(magnitudes, axis=-1) >= INFINITY_BITS
    kept = jnp.where(magnitudes < HIDDEN_BIT, sign_bits(rows), float_bits(rows))
    rows = from_bits(jnp.where(is_bad[:, None], 0, kept))
    scales = _search(rows, scheme)
    codes = _codes(_rounded(rows, scales, scheme), scheme)
    code_field, scale_field = scheme.layout(x.shape)
    arrays = {
        "codes": jnp.where(is_bad[:, None], np.uint8(0), codes).reshape(code_field.shape),
        "scales": jnp.where(is_bad, jnp.nan, scales).reshape(scale_field.shape),
    }
    return QuantizedTensor(arrays=arrays, scheme=scheme, shape=x.shape)


@jax.jit
def dequantize(q: QuantizedTensor) -> Float32[Array, "*shape"]:
    """Return values times scale; a code whose pair is the mark is an outlier."""
    scheme = q.scheme
    assert isinstance(scheme, Olive)
    pairs = _paired(q.codes)
    is_victim = pairs == scheme.mark
    is_outlier = is_victim[..., ::-1] & ~is_victim
    place, is_negative = pairs & (scheme.mark - 1), pairs >= scheme.mark
    normal = jnp.asarray(np.array(scheme.magnitudes, np.float32))[place]
    outlier = jnp.asarray(np.array((0, *OUTLIERS[scheme.bits]), np.float32))[place]
    size = jnp.where(is_victim, 0, jnp.where(is_outlier, outlier, normal))
    values = _unpaired(jnp.where(is_negative & ~is_victim, -size, size), q.shape)
    scales = q.scales[..., None]
    return jnp.where(jnp.isnan(scales), jnp.nan, multiply(values, scales))


def _search(rows: Rows, scheme: Olive) -> PerRow:
    """Return the scale of least squared error of each row, the first on ties."""
    alpha, top = _first_alpha(rows), float(scheme.magnitudes[-1])

    def step(best: tuple[PerRow, PerRow], trial: Array) -> tuple[tuple[PerRow, PerRow], None]:
        clipped = jnp.minimum(multiply(alpha, trial), np.float32(MAX_FLOAT32))
        scales = fence(jnp.maximum(divide(clipped, top), np.float32(MIN_NORMAL)))
        back = multiply(_rounded(rows, scales, scheme), scales[:, None])
        errors = _squares(back - rows)
        is_less = errors < best[0]
        return (jnp.where(is_less, errors, best[0]), jnp.where(is_less, scales, best[1])), None

    start = jnp.full_like(alpha, jnp.inf), jnp.ones_like(alpha)
    (_, scales), _ = lax.scan(step, start, jnp.asarray(np.array(TRIALS, np.float32)))
    return jnp.where(jnp.max(jnp.abs(rows), axis=-1) == 0, 1, scales)


def _first_alpha(rows: Rows) -> PerRow:
    count = rows.shape[1]
    mean = fence(divide(tree_sum(rows), float(count)))
    variance = divide(_squares(mean[:, None] - rows), float(max(count - 1, 1)))
    spread = fence(multiply(jnp.sqrt(variance), 3.0))
    largest = jnp.maximum(jnp.abs(mean + spread), jnp.abs(mean - spread))
    return fence(jnp.minimum(largest, np.float32(MAX_FLOAT32)))


def _squares(difference: Rows) -> PerRow:
    size = jnp.abs(difference)
    return tree_sum(multiply(size, size))


def _rounded(rows: Rows, scales: PerRow, scheme: Olive) -> Rows:
    """Return numbers divided by the scale and rounded, victims as zeros."""
    values = round_element(scheme.table, divide(rows, scales[:, None]))
    if rows.shape[1] % 2:
        values = values.at[:, -1].set(jnp.clip(values[:, -1], -THRESHOLD, THRESHOLD))
    pairs = _paired(values)
    left, right = (jnp.abs(pairs[..., side]) > THRESHOLD for side in (0, 1))
    is_victim = jnp.stack([right & ~left, left], axis=-1)
    return _unpaired(jnp.where(is_victim, 0, pairs), rows.shape)


def _codes(values: Rows, scheme: Olive) -> Array:
    """Return codes (sign and index) of values; the victims of outliers get the mark."""
    size = jnp.abs(values)
    is_outlier = size > THRESHOLD
    place = sum((size >= value).astype(jnp.int32) for value in scheme.magnitudes[1:])
    beyond = sum((size >= value).astype(jnp.int32) for value in OUTLIERS[scheme.bits])
    code = jnp.where(is_outlier, beyond, place)
    code = code | jnp.where(values < 0, scheme.mark, 0)
    is_victim = _unpaired(_paired(is_outlier)[..., ::-1], values.shape)
    return jnp.where(is_victim, scheme.mark, code).astype(jnp.uint8)


def _paired(x: Array) -> Array:
    """Return values in pairs; a row of odd length is padded with a zero."""
    padding = [(0, 0)] * (x.ndim - 1) + [(0, x.shape[-1] % 2)]
    filled: Array = jnp.pad(x, padding).reshape(*x.shape[:-1], -1, 2)
    return filled


def _unpaired(pairs: Array, shape: tuple[int, ...]) -> Array:
    flat: Array = pairs.reshape(*shape[:-1], -1)[..., : shape[-1]]
    return flat
