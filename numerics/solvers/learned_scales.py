"""Learned channel scales: the scales of a layer's inputs descend its output error.

OmniQuant's learnable equivalent transformation (arXiv:2308.13137). Its loss is the error of the
block; here it is the layer's own, as in :mod:`numerics.solvers.scales`: ``tr(D H D^T)`` with ``D =
Q_w(W s) / s - W`` over all tokens, and, if inputs are rounded, ``|(Q_x(x / s) - x / s) Q_w(W
s)^T|^2`` over a sample of them.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Float32, Int

from numerics.schemes.scheme import Scheme
from numerics.solvers.adam import Adam
from numerics.solvers.straight_through import fake_quantize

#: Full float32 products; the default of an accelerator is BF16 or TF32.
HIGHEST = jax.lax.Precision.HIGHEST


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """A linear layer whose inputs are scaled."""

    weight: Float32[np.ndarray, "out n"]
    #: Scheme of the weight.
    weights: Scheme
    #: Scheme of the inputs; ``None`` for float inputs.
    inputs: Scheme | None


def learned_scales(
    layers: tuple[Layer, ...],
    hessian: Float[np.ndarray, "n n"],
    sample: Float32[np.ndarray, "t n"],
    row_weights: Float[np.ndarray, " t"],
    scale_of: Int[np.ndarray, " n"],
    *,
    steps: int,
    rate: float,
) -> Float32[np.ndarray, " m"]:
    """Return the scales with the least error on the way of Adam, which starts at ones.

    Parameters
    ----------
    layers : tuple of Layer
        Layers that read the same input.
    hessian : array (in, in)
        ``sum x x^T`` of the input.
    sample, row_weights : array (tokens, in), array (tokens,)
        Rows of inputs that aren't rounded, and the number of tokens that each stands for.
    scale_of : array (in,)
        Index of the scale of each channel; channels can share a scale.
    steps : int
        Steps of Adam.
    rate : float
        Learning rate of the logarithm of the scales.
    """
    # Adam doesn't depend on the size of the loss, but float32 has limits.
    total = float(np.trace(hessian)) or 1.0
    found: Array = _learned(
        tuple(jnp.asarray(layer.weight) for layer in layers),
        jnp.asarray(hessian / total, jnp.float32),
        jnp.asarray(sample),
        jnp.asarray(row_weights / total, jnp.float32),
        jnp.asarray(scale_of),
        jnp.float32(rate),
        tuple((layer.weights, layer.inputs) for layer in layers),
        steps,
        int(scale_of.max()) + 1,
    )
    return np.asarray(found)


@partial(jax.jit, static_argnames=("schemes", "steps", "count"))
def _learned(
    weights: tuple[Float32[Array, "_ n"], ...],
    hessian: Float32[Array, "n n"],
    sample: Float32[Array, "t n"],
    row_weights: Float32[Array, " t"],
    scale_of: Int[Array, " n"],
    rate: Float32[Array, ""],
    schemes: tuple[tuple[Scheme, Scheme | None], ...],
    steps: int,
    count: int,
) -> Float32[Array, " m"]:
    def error(logarithms: Array) -> Array:
        scales = jnp.exp(logarithms)[scale_of]
        x = sample / scales
        total = jnp.float32(0)
        for weight, (of_weights, of_inputs) in zip(weights, schemes, strict=True):
            rounded = fake_quantize(weight * scales, of_weights)
            difference = rounded / scales - weight
            total += jnp.sum(jnp.matmul(difference, hessian, precision=HIGHEST) * difference)
            if of_inputs is not None:
                rounding = fake_quantize(x, of_inputs) - x
                outputs = jnp.matmul(rounding, rounded.T, precision=HIGHEST)
                total += jnp.sum(row_weights[:, None] * outputs**2)
        loss: Array = total
        return loss

    def step(state: tuple[Adam, Array, Array], _: None) -> tuple[Any, None]:
        adam, best, least = state
        loss, gradient = jax.value_and_grad(error)(adam.values)
        best = jnp.where(loss < least, adam.values, best)
        return (adam.step(gradient, rate), best, jnp.minimum(loss, least)), None

    start = jnp.zeros(count)
    state = Adam.start(start), start, jnp.float32(jnp.inf)
    # The loss of the last step needs one more.
    (_, best, _), _ = lax.scan(step, state, length=steps + 1)
    scales: Array = jnp.exp(best)
    return scales
