"""Differentiable rounding: the values of a scheme, with gradients that pass through the rounding.

The rounding of a value counts as the identity in range and as a constant outside (LSQ,
arXiv:1902.08153); the rounding of a scale or a minimum counts as the identity; zero points,
power-of-two scales and second levels of scales are constants.
"""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float32

from numerics.arithmetic.cast import round_element
from numerics.arithmetic.float32 import MIN_NORMAL
from numerics.formats import IntFormat
from numerics.schemes import grouping
from numerics.schemes.element import ElementScheme, ScaleRule, ZeroPoint
from numerics.schemes.element_arrays import find_second_level, rows_of
from numerics.schemes.scales import (
    Groups,
    SecondLevel,
    SideData,
    find_side_data,
    scale_exponents,
    scale_values,
)
from numerics.schemes.scheme import Scheme
from numerics.solvers.ranges import Factors, side_data


def fake_quantize(x: Float32[Array, "rows n"], scheme: Scheme) -> Float32[Array, "rows n"]:
    """Return the values of the scheme's ``fake_quantize``, differentiable in ``x``.

    For schemes that are not element schemes the whole rounding counts as the identity, so that the
    gradient does not know that a large value widens the steps of its group.
    """
    if not isinstance(scheme, ElementScheme):
        return x + lax.stop_gradient(scheme.fake_quantize(lax.stop_gradient(x)) - x)
    by_row = rows_of(find_second_level(lax.stop_gradient(x), scheme))
    parts = []
    for block in grouping.split_groups(x, scheme.granularity):
        ones = jnp.ones(block.shape[:2])
        parts.append(rounded(block, (ones, ones), scheme, by_row))
    return grouping.join_groups(parts, x.shape)


def rounded(
    block: Groups, factors: Factors, scheme: ElementScheme, tensor_scale: SecondLevel | None
) -> Groups:
    """Return the values of groups whose ranges are multiplied by the factors.

    They are the dequantized values under :func:`numerics.solvers.ranges.side_data`, differentiable
    in values and factors.
    """
    fixed = lax.stop_gradient(block), lax.stop_gradient(factors)
    side = lax.stop_gradient(side_data(*fixed, scheme, tensor_scale))
    scale = _scale(block, factors, side, scheme, tensor_scale)[..., None]
    minimum: Array | float = 0.0
    if side.minimums is not None:
        exact = block.min(axis=-1) * factors[1]
        minimum = (side.minimums.astype(jnp.float32) + _gradient_of(exact))[..., None]
    position = (block - minimum) / scale
    values, is_inside = _nearest(lax.stop_gradient(position), side, scheme)
    return (values + is_inside * _gradient_of(position)) * scale + minimum


def _scale(
    block: Groups,
    factors: Factors,
    side: SideData,
    scheme: ElementScheme,
    tensor_scale: SecondLevel | None,
) -> Array:
    """Return the stored scales, with the gradient of the scales before they are rounded."""
    if scheme.has_power_of_two_scales:
        return jnp.ldexp(jnp.float32(1), scale_exponents(side)[0])
    stored = scale_values(side, scheme, tensor_scale)
    upper, lower = factors
    if scheme.zero_point is not ZeroPoint.NONE:
        high, low = block.max(axis=-1), block.min(axis=-1)
        if scheme.zero_point is ZeroPoint.INTEGER:
            high, low = jnp.maximum(high, 0), jnp.minimum(low, 0)
        return stored + _gradient_of((high * upper - low * lower) / scheme.element.max)
    magnitude = jnp.abs(block)
    is_mean = scheme.rule is ScaleRule.ABSMEAN
    size = magnitude.mean(axis=-1) if is_mean else magnitude.max(axis=-1)
    fixed = lax.stop_gradient(block)
    whole = scale_values(find_side_data(fixed, scheme, tensor_scale), scheme, tensor_scale)
    # The scale is proportional to the size, except in groups of zeros.
    relative = size / jnp.maximum(lax.stop_gradient(size), MIN_NORMAL)
    return stored + _gradient_of(whole * relative * upper)


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
