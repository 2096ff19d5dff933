"""The search of the types that have a minimum: Q2_K, Q4_K and Q5_K; see ``searches``."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from numerics.arithmetic.division import fence
from numerics.gguf.searches import (
    STEP,
    Columns,
    Found,
    PerGroup,
    rounded,
    rounded_positive,
)

Pair = tuple[Array, Array]
Sums = tuple[Array, Array, Array]


def search_affine(
    x: Columns, weights: Columns, *, last: int, first: float, steps: int, by_square: bool
) -> Found:
    """Fit ``scale * code - minimum`` with codes 0 to ``last``; ggml's ``make_qkx2_quants``.

    Candidates have ``last``, then ``last + first + 0.1 n`` steps from the least value to the
    greatest for n up to ``steps``; the minimum of a better fit replaces the least value.
    The error is the weighted sum of squares, or of magnitudes.
    """
    low, high = jnp.minimum(jnp.min(x, axis=0), 0), jnp.max(x, axis=0)
    add = lambda s, row: ((s[0] + row[1], s[1] + rounded(row[1] * row[0])), None)  # noqa: E731
    totals, _ = lax.scan(add, (jnp.zeros_like(low), jnp.zeros_like(low)), (x, weights))
    count = [np.float32(first) + STEP * np.float32(n) + np.float32(last) for n in range(steps + 1)]
    counts = fence(jnp.asarray(np.array(count)))

    def step(n: Array, best: _Affine) -> _Affine:
        tried = _Grid(best.least, _divided(counts[n], high - best.least), last)
        scale, least, is_valid = _fit(x, weights, tried, totals)
        error = _error(x, weights, tried, scale, least, by_square=by_square)
        takes = is_valid & (error < best.error)
        new = _Affine(error, scale, least, tried.low, tried.inverse)
        return _Affine(*(jnp.where(takes, a, b) for a, b in zip(new, best, strict=True)))

    plain = _Grid(low, _divided(jnp.float32(last), high - low), last)
    scale = jnp.ones_like(low) / plain.inverse
    error = _error(x, weights, plain, scale, low, by_square=by_square)
    start = _Affine(error, scale, low, low, plain.inverse)
    best: _Affine = lax.fori_loop(0, steps + 1, step, start)
    codes, is_flat = _Grid(best.low, best.inverse, last).codes(x), high == low
    return Found(
        jnp.where(is_flat, 0, best.scale),
        jnp.where(is_flat, 0, codes),
        -jnp.where(is_flat, low, best.least),
    )


class _Affine(NamedTuple):
    """The best fit so far, with the least value and the inverse step of its codes."""

    error: PerGroup
    scale: PerGroup
    least: PerGroup
    low: PerGroup
    inverse: PerGroup


class _Grid(NamedTuple):
    """Equal steps from a least value, ``last`` of them."""

    low: PerGroup
    inverse: PerGroup
    last: int

    def codes(self, x: Array) -> Array:
        """Return the nearest step of each value."""
        return jnp.clip(jnp.round((x - self.low) * self.inverse), 0, self.last)


def _fit(
    x: Columns, weights: Columns, grid: _Grid, totals: Pair
) -> tuple[PerGroup, PerGroup, Array]:
    """Return the weighted least-squares scale and least value, and whether there are any."""

    def add(sums: Sums, row: Pair) -> tuple[Sums, None]:
        x_i, w_i = row
        code = grid.codes(x_i)
        weighted = rounded_positive(w_i * code)
        sum_l, sum_l2, sum_xl = sums
        return (
            sum_l + weighted,
            sum_l2 + rounded_positive(weighted * code),
            sum_xl + rounded(weighted * x_i),
        ), None

    (sum_l, sum_l2, sum_xl), _ = lax.scan(add, (jnp.zeros_like(grid.low),) * 3, (x, weights))
    sum_w, sum_x = totals
    determinant = rounded_positive(sum_w * sum_l2) - rounded_positive(sum_l * sum_l)
    scale = (rounded(sum_w * sum_xl) - rounded(sum_x * sum_l)) / determinant
    least = (rounded(sum_l2 * sum_x) - rounded(sum_l * sum_xl)) / determinant
    scale = jnp.where(least > 0, sum_xl / sum_l2, scale)
    return scale, jnp.minimum(least, 0), determinant > 0


def _error(
    x: Columns,
    weights: Columns,
    grid: _Grid,
    scale: PerGroup,
    least: PerGroup,
    *,
    by_square: bool,
) -> PerGroup:
    def add(total: Array, row: Pair) -> tuple[Array, None]:
        x_i, w_i = row
        error = (rounded(scale * grid.codes(x_i)) + least) - x_i
        power = rounded_positive(error * error) if by_square else jnp.abs(error)
        return total + rounded_positive(w_i * power), None

    total: Array = lax.scan(add, jnp.zeros_like(scale), (x, weights))[0]
    return total


def root_mean_square_weights(x: Columns) -> Columns:
    """Return ``sqrt(mean(x^2)) + |x|``, the weights of Q4_K and Q5_K."""
    add = lambda total, x_i: (total + rounded_positive(x_i * x_i), None)  # noqa: E731
    total, _ = lax.scan(add, jnp.zeros_like(x[0]), x)
    return jnp.sqrt(total * np.float32(1 / x.shape[0])) + jnp.abs(x)


def _divided(number: Array, divisor: PerGroup) -> PerGroup:
    return fence(jnp.broadcast_to(number, divisor.shape)) / divisor
