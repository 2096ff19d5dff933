"""Learned weight clipping: the ranges of all groups descend the output error of the layer.

OmniQuant (arXiv:2308.13137) multiplies the largest and the smallest weight of a group by the
sigmoids of two learned numbers. Here the factors are ``sigmoid(g) / sigmoid(4)``, which are 1 at
OmniQuant's start ``g = 4``, and the loss is the layer's own output error ``tr(D H D^T)`` with ``D
= Q(W) - W`` instead of the block's. Rows do not depend on one another, and each keeps its best
step.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Float32

from numerics.arithmetic.cast import round_element
from numerics.formats import IntFormat
from numerics.schemes import grouping
from numerics.schemes.element import ElementScheme, ZeroPoint
from numerics.schemes.element_arrays import find_second_level, rows_of
from numerics.schemes.scales import Groups, SecondLevel, SideData, find_side_data, scale_values
from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.ranges import HIGHEST, Factors, check_ranges, quantized, search_ranges
from numerics.solvers.ranges import side_data as side_data_of

#: Initial value of learned numbers in OmniQuant.
START = 4.0
#: Constants of Adam (arXiv:1412.6980).
DECAY, SQUARE_DECAY, EPSILON = 0.9, 0.999, 1e-20


def learned_clip(
    weight: Float32[np.ndarray, "out n"],
    hessian: Float[np.ndarray, "n n"],
    scheme: Scheme,
    *,
    sweeps: int = 2,
    steps: int = 100,
    rate: float = 0.05,
) -> QuantizedTensor:
    """Return the nearest codes under learned ranges.

    Parameters
    ----------
    weight : array (out, in)
        Float weights.
    hessian : array (in, in)
        ``sum x x^T`` of the layer's inputs; a constant factor doesn't matter.
    scheme : Scheme
        An element scheme with a scale per row or group.
    sweeps : int
        Visits of each group by the search that finds the initial ranges.
    steps : int
        Steps of Adam; none for power-of-two scales, on which a small step has no effect.
    rate : float
        Learning rate of Adam.

    Raises
    ------
    ValueError
        The scheme has no scales, or one for the tensor.
    """
    element = check_ranges(scheme)
    # Adam doesn't depend on the size of the loss, but float32 has limits.
    total = float(np.trace(hessian)) or 1.0
    found: QuantizedTensor = _learned(
        jnp.asarray(weight),
        jnp.asarray(hessian / total, jnp.float32),
        jnp.float32(rate),
        element,
        sweeps,
        0 if element.has_power_of_two_scales else steps,
    )
    return found


@partial(jax.jit, static_argnames=("scheme", "sweeps", "steps"))
def _learned(
    weight: Float32[Array, "out n"],
    hessian: Float32[Array, "n n"],
    rate: Float32[Array, ""],
    scheme: ElementScheme,
    sweeps: int,
    steps: int,
) -> QuantizedTensor:
    tensor_scale = find_second_level(weight, scheme)
    by_row = rows_of(tensor_scale)
    factors = search_ranges(weight, hessian, scheme, by_row, sweeps)
    if steps:
        factors = _descend(weight, hessian, factors, rate, scheme, by_row, steps)
    return quantized(weight, factors, scheme, tensor_scale, by_row)


def _descend(
    weight: Float32[Array, "out n"],
    hessian: Float32[Array, "n n"],
    factors: list[Factors],
    rate: Float32[Array, ""],
    scheme: ElementScheme,
    by_row: SecondLevel | None,
    steps: int,
) -> list[Factors]:
    """Return the factors with the least loss of each row on the way of Adam."""
    blocks = grouping.split_groups(weight, scheme.granularity)

    def values(learned: list[Factors]) -> Array:
        pairs = zip(blocks, _factors(learned), strict=True)
        return grouping.join_groups([rounded(b, f, scheme, by_row) for b, f in pairs], weight.shape)

    def step(state: tuple[Any, ...], count: Array) -> tuple[tuple[Any, ...], None]:
        learned, mean, square, best, least = state
        found, gradient_of = jax.vjp(values, learned)
        difference = found - weight
        product = jnp.matmul(difference, hessian, precision=HIGHEST)
        losses = jnp.sum(product * difference, axis=-1)
        is_better = (losses < least)[:, None]
        best = jax.tree.map(partial(jnp.where, is_better), learned, best)
        (gradient,) = gradient_of(2 * product)
        mean = jax.tree.map(lambda m, g: DECAY * m + (1 - DECAY) * g, mean, gradient)
        square = jax.tree.map(
            lambda v, g: SQUARE_DECAY * v + (1 - SQUARE_DECAY) * g * g, square, gradient
        )
        # Both means start at 0; these divisors undo it.
        first, second = 1 - DECAY**count, 1 - SQUARE_DECAY**count
        learned = jax.tree.map(
            lambda p, m, v: p - rate * (m / first) / (jnp.sqrt(v / second) + EPSILON),
            learned,
            mean,
            square,
        )
        return (learned, mean, square, best, jnp.minimum(losses, least)), None

    start = jax.tree.map(_learned_number, factors)
    zeros = jax.tree.map(jnp.zeros_like, start)
    state = start, zeros, zeros, start, jnp.full(len(weight), jnp.inf)
    (_, _, _, best, _), _ = lax.scan(step, state, jnp.arange(1.0, steps + 2.0))
    return _factors(best)


def _factors(learned: list[Factors]) -> list[Factors]:
    found: list[Factors] = jax.tree.map(
        lambda g: jax.nn.sigmoid(g) / jax.nn.sigmoid(START), learned
    )
    return found


def _learned_number(factor: Array) -> Array:
    """Return the number whose factor is given."""
    part = factor * jax.nn.sigmoid(START)
    # At factor 1 the quotient would lose the last bits of START.
    return jnp.where(factor == 1, START, jnp.log(part / (1 - part)))


def rounded(
    block: Groups, factors: Factors, scheme: ElementScheme, tensor_scale: SecondLevel | None
) -> Groups:
    """Return the dequantized values of groups, differentiable in the factors.

    The values are those under :func:`side_data_of`. Gradients: the rounding of a value counts as
    the identity in range and as a constant outside (LSQ, arXiv:1902.08153); the rounding of a scale
    or minimum counts as the identity; a zero point is a constant.
    """
    side = lax.stop_gradient(side_data_of(block, factors, scheme, tensor_scale))
    stored = scale_values(side, scheme, tensor_scale)
    scale = (stored + _gradient_of(_exact_scale(block, factors, scheme, tensor_scale)))[..., None]
    minimum: Array | float = 0.0
    if side.minimums is not None:
        exact = block.min(axis=-1) * factors[1]
        minimum = (side.minimums.astype(jnp.float32) + _gradient_of(exact))[..., None]
    position = (block - minimum) / scale
    values, is_inside = _nearest(lax.stop_gradient(position), side, scheme)
    return (values + is_inside * _gradient_of(position)) * scale + minimum


def _exact_scale(
    block: Groups, factors: Factors, scheme: ElementScheme, tensor_scale: SecondLevel | None
) -> Array:
    """Return scales before they are rounded to their format, for gradients."""
    upper, lower = factors
    if scheme.zero_point is ZeroPoint.NONE:
        whole = find_side_data(block, scheme, tensor_scale)
        return lax.stop_gradient(scale_values(whole, scheme, tensor_scale)) * upper
    high, low = block.max(axis=-1), block.min(axis=-1)
    if scheme.zero_point is ZeroPoint.INTEGER:
        high, low = jnp.maximum(high, 0), jnp.minimum(low, 0)
    return (high * upper - low * lower) / scheme.element.max


def _nearest(position: Groups, side: SideData, scheme: ElementScheme) -> tuple[Array, Array]:
    """Return the element values nearest to positions, and 1 where a position is in range, else 0.

    An integer is in range if it rounds to a code without saturation.
    """
    element = scheme.element
    if not isinstance(element, IntFormat):
        is_inside = (position >= element.min) & (position <= element.max)
        return round_element(element, position), is_inside.astype(jnp.float32)
    zero: Array | float = 0.0
    if side.zero_points is not None:
        zero = side.zero_points.astype(jnp.float32)[..., None]
    codes = jnp.round(position) + zero
    clipped = jnp.clip(codes, element.min, element.max)
    return clipped - zero, (codes == clipped).astype(jnp.float32)


def _gradient_of(x: Array) -> Array:
    """Return zeros with the gradient of ``x``."""
    return x - lax.stop_gradient(x)
