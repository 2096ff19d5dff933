"""Searches for the scale of one group of a K type or of IQ4, for many groups at once.

The searches are those of ggml's ``quantize_row_*_ref`` and ``quantize_iq4_*`` without an importance
matrix: every candidate scale is tried, its codes are fitted by least squares, and the best fit
wins. Sums run over the values of a group in order, and every product is rounded to float32 before
it is added, as in ggml's C code where the compiler contracts nothing.

A group is a column: axis 0 runs over values, the last axis over groups. Callers divide groups by
powers of two so that the largest magnitude is in [1, 2). That changes no choice unless ggml's
products of sums, each of degree up to eight in the values, leave the range of float32: in groups
whose largest magnitude is below 2^-15 or above 2^14.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float32

from numerics.arithmetic.division import fence, float_bits, from_bits, sign_bits
from numerics.arithmetic.float32 import NAN_BITS

Columns = Float32[Array, "values groups"]
PerGroup = Float32[Array, " groups"]
Pair = tuple[Array, Array]
Triple = tuple[Array, Array, Array]

#: Difference between candidates in the number of steps of a group; ggml's ``0.1f``.
STEP = np.float32(0.1)
#: Candidates on each side of the first, in the searches of Q6_K and of IQ4.
SYMMETRIC_STEPS, LEVEL_STEPS = 9, 7
#: Passes of the refinement of Q3_K.
PASSES = 5


class Found(NamedTuple):
    """The scale of each group, with codes and the subtracted minimum if the search has them."""

    scale: PerGroup
    codes: Columns | None = None
    minimum: PerGroup | None = None


def search_symmetric(x: Columns, *, half: int) -> Found:
    """Fit ``scale * (code - half)`` weighted by squares; ggml's ``make_qx_quants``, type 1.

    Candidates map the value of largest magnitude to ``-half`` and to up to 0.9 more or less.
    """
    turned, sign, largest = _turned(x)
    offsets = [0, *(n for n in range(-SYMMETRIC_STEPS, SYMMETRIC_STEPS + 1) if n)]
    inverse = _each([np.float32(half) + STEP * np.float32(n) for n in offsets], largest)
    levels_of = lambda x_i: jnp.clip(jnp.round(inverse * x_i), -half, half - 1)  # noqa: E731
    scale, best = _best_scale(turned, levels_of, inverse, _moment)
    chosen = jnp.take_along_axis(inverse, best[None], axis=0)[0]
    levels = jnp.clip(jnp.round(chosen * turned), -half, half - 1)
    return Found(-sign * scale, levels + half)


def search_refined(x: Columns, *, half: int) -> Found:
    """Fit as :func:`search_symmetric` from one candidate, code by code; ``make_q3_quants``.

    ggml refines only groups whose value of largest magnitude is negative; in other groups the sum
    that must be positive never is.
    """
    turned, sign, largest = _turned(x)
    levels = jnp.clip(jnp.round(_each([np.float32(half)], largest) * turned), -half, half - 1)
    squares = rounded_positive(turned * turned)

    def add(sums: Pair, row: Triple) -> tuple[Pair, None]:
        return (sums[0] + _moment(*row), sums[1] + _power(row[1], row[2])), None

    def improve(sums: Pair, row: Triple) -> tuple[Pair, Array]:
        (sum_lx, sum_l2), (x_i, w_i, level) = sums, row
        other_lx = sum_lx - _moment(x_i, w_i, level)
        other_l2 = sum_l2 - _power(w_i, level)
        new = jnp.clip(jnp.round(x_i * other_l2 / other_lx), -half, half - 1)
        new_lx, new_l2 = other_lx + _moment(x_i, w_i, new), other_l2 + _power(w_i, new)
        is_better = new_lx * new_lx * sum_l2 > sum_lx * sum_lx * new_l2
        takes = (sign < 0) & (other_lx > 0) & (new != level) & (new_l2 > 0) & is_better
        kept = jnp.where(takes, new_lx, sum_lx), jnp.where(takes, new_l2, sum_l2)
        return kept, jnp.where(takes, new, level)

    def one_pass(_: Array, state: tuple[Pair, Array]) -> tuple[Pair, Array]:
        sums, levels = state
        return lax.scan(improve, sums, (turned, squares, levels))

    start = (jnp.zeros_like(largest), jnp.zeros_like(largest))
    sums, _ = lax.scan(add, start, (turned, squares, levels))
    (sum_lx, sum_l2), levels = lax.fori_loop(0, PASSES, one_pass, (sums, levels))
    return Found(-sign * jnp.where(sum_l2 > 0, sum_lx / sum_l2, 0), levels + half)


def search_levels(x: Columns, levels: tuple[int, ...]) -> Found:
    """Fit ``scale * levels[code]`` weighted by squares; ``quantize_row_iq4_nl_impl``.

    The first candidate maps the value of largest magnitude to the magnitude of the lowest level,
    the others to that level and to up to 7 more or less.
    """
    turned, sign, largest = _turned(x)
    lowest = np.float32(levels[0])
    steps = range(-LEVEL_STEPS, LEVEL_STEPS + 1)
    first = jnp.ones_like(largest) / (largest / fence(jnp.full_like(largest, -lowest)))
    others = _each([np.float32(n) + lowest for n in steps], largest)
    # Values are negated so that their extreme is negative; the signs of the scales change too.
    inverse = -jnp.concatenate([first[None], others])
    level_of = lambda x_i: level_near(inverse * x_i, levels)  # noqa: E731
    # ggml multiplies by the level before the value here.
    moment = lambda x_i, w_i, level: rounded(w_i * level * x_i)  # noqa: E731
    scale, _ = _best_scale(turned, level_of, inverse, moment)
    return Found(-sign * scale)


def code_near(x: Float32[Array, "*shape"], levels: tuple[int, ...]) -> Float32[Array, "*shape"]:
    """Return the index of the nearest level; ties go to the upper level."""
    middles = [np.float32((a + b) / 2) for a, b in pairwise(levels)]
    codes: Array = sum((jnp.where(x >= m, 1.0, 0.0) for m in middles), jnp.zeros_like(x))
    return codes


def level_near(x: Float32[Array, "*shape"], levels: tuple[int, ...]) -> Float32[Array, "*shape"]:
    """Return the nearest level; ties go to the upper level."""
    level = jnp.full_like(x, levels[0])
    for low, high in pairwise(levels):
        level = jnp.where(x >= np.float32((low + high) / 2), np.float32(high), level)
    return level


def _best_scale(
    x: Columns,
    level_of: Callable[[Array], Array],
    like: Float32[Array, "candidates groups"],
    moment: Callable[[Array, Array, Array], Array],
) -> tuple[PerGroup, Array]:
    """Return the least-squares scale and the index of the best candidate."""

    def add(sums: Pair, x_i: Array) -> tuple[Pair, None]:
        level, w_i = level_of(x_i), rounded_positive(x_i * x_i)
        return (sums[0] + moment(x_i, w_i, level), sums[1] + _power(w_i, level)), None

    sums, _ = lax.scan(add, (jnp.zeros_like(like), jnp.zeros_like(like)), x)
    sum_lx, sum_l2 = sums
    scales = jnp.where(sum_l2 > 0, sum_lx / sum_l2, 0)
    scale, best = scales[0], scales[0] * sum_lx[0]
    index = jnp.zeros(scale.shape, jnp.int32)
    for n in range(1, like.shape[0]):
        is_better = (sum_l2[n] > 0) & (sum_lx[n] * sum_lx[n] > best * sum_l2[n])
        scale = jnp.where(is_better, scales[n], scale)
        best = jnp.where(is_better, scales[n] * sum_lx[n], best)
        index = jnp.where(is_better, n, index)
    return scale, index


def _turned(x: Columns) -> tuple[Columns, PerGroup, PerGroup]:
    """Return columns with a negative value of largest magnitude; its sign and magnitude in ``x``.

    The first of equal magnitudes decides.
    """
    magnitudes = jnp.abs(x)
    extreme = jnp.take_along_axis(x, jnp.argmax(magnitudes, axis=0)[None], axis=0)[0]
    sign = jnp.where(extreme < 0, np.float32(-1), np.float32(1))
    return -sign * x, sign, jnp.max(magnitudes, axis=0)


def _each(numbers: list[np.float32], divisor: PerGroup) -> Float32[Array, "candidates groups"]:
    """Return number / divisor for all pairs; fenced, so that XLA keeps the division."""
    shape = (len(numbers), *divisor.shape)
    table = fence(jnp.broadcast_to(np.array(numbers, np.float32)[:, None], shape))
    return table / fence(jnp.broadcast_to(divisor, shape))


def _moment(x: Array, weight: Array, level: Array) -> Array:
    return rounded(weight * x * level)


def _power(weight: Array, level: Array) -> Array:
    return rounded_positive(weight * level * level)


def rounded_positive(product: Array) -> Array:
    """Return a product that is not negative, rounded before anything is added to it.

    Compilers do not contract across the integer operation.
    """
    return from_bits(jnp.minimum(float_bits(product), NAN_BITS))


def rounded(product: Array) -> Array:
    """Return a product of either sign, rounded before anything is added to it."""
    return from_bits(float_bits(rounded_positive(jnp.abs(product))) | sign_bits(product))
