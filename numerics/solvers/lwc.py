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

from numerics.schemes import grouping
from numerics.schemes.element import ElementScheme
from numerics.schemes.element_arrays import find_second_level, rows_of
from numerics.schemes.scales import SecondLevel
from numerics.schemes.scheme import Scheme
from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.adam import Adam
from numerics.solvers.ranges import HIGHEST, Factors, check_ranges, quantized, search_ranges
from numerics.solvers.straight_through import rounded

#: Initial value of learned numbers in OmniQuant.
START = 4.0


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

    def step(state: tuple[Adam, list[Factors], Array], _: None) -> tuple[Any, None]:
        adam, best, least = state
        found, gradient_of = jax.vjp(values, adam.values)
        difference = found - weight
        product = jnp.matmul(difference, hessian, precision=HIGHEST)
        losses = jnp.sum(product * difference, axis=-1)
        is_better = (losses < least)[:, None]
        best = jax.tree.map(partial(jnp.where, is_better), adam.values, best)
        (gradient,) = gradient_of(2 * product)
        return (adam.step(gradient, rate), best, jnp.minimum(losses, least)), None

    start = jax.tree.map(_learned_number, factors)
    state = Adam.start(start), start, jnp.full(len(weight), jnp.inf)
    # The loss of the last step needs one more.
    (_, best, _), _ = lax.scan(step, state, length=steps + 1)
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
