"""Diagonal scales of a layer's inputs: candidates and the output error of each.

A layer's output ``W x`` stays equal if its inputs are divided and its columns multiplied by
positive scales, ``(W s) (x / s)``; the rounding of ``W s`` and ``x / s`` changes. Scales are
functions of each channel's magnitude (AWQ, arXiv:2306.00978; SmoothQuant, arXiv:2211.10438). A
search compares candidates by the output error of the layer, without a forward pass of the model.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32

from numerics.schemes.scheme import Scheme

Channels = Float32[np.ndarray, " n"]
Candidates = Float32[np.ndarray, "k n"]
#: Least scale of AWQ before centring; least scale and weight of SmoothQuant (public codes of both).
AWQ_LEAST, SMOOTH_LEAST = 1e-4, 1e-5
#: Full float32 products; the default of an accelerator is BF16 or TF32.
HIGHEST = jax.lax.Precision.HIGHEST


def awq_scales(magnitude: Float[np.ndarray, " n"], exponent: float) -> Channels:
    """Return ``mean|x|^exponent``, divided by the root of its largest times its smallest value.

    Exponent 0 gives ones exactly. A channel that no token activates has scale 1.

    Examples
    --------
    >>> awq_scales(np.array([1.0, 4.0, 16.0]), 0.5).tolist()
    [0.5, 1.0, 2.0]
    """
    mean = np.asarray(magnitude, np.float64)
    scales = np.maximum(mean**exponent, AWQ_LEAST)
    live = scales[mean > 0] if mean.any() else scales
    centred: Channels = (scales / np.sqrt(live.max() * live.min())).astype(np.float32)
    return np.where(mean > 0, centred, np.float32(1))


def smooth_scales(
    inputs: Float[np.ndarray, " n"], weights: Float[np.ndarray, " n"], alpha: float
) -> Channels:
    """Return ``max|x|^alpha / max|w|^(1 - alpha)`` of each channel.

    A channel that no token activates has scale 1: a small scale would make its first input huge.

    Examples
    --------
    >>> smooth_scales(np.array([16.0, 1.0]), np.array([1.0, 4.0]), 0.5).tolist()
    [4.0, 0.5]
    """
    x = np.asarray(inputs, np.float64)
    w = np.maximum(np.asarray(weights, np.float64), SMOOTH_LEAST)
    scales = np.maximum(x**alpha / w ** (1 - alpha), SMOOTH_LEAST)
    return np.where(x > 0, scales, 1).astype(np.float32)


def power_of_two(scales: Float[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Return the nearest powers of two on a logarithmic scale.

    Examples
    --------
    >>> power_of_two(np.array([1.0, 1.4, 1.5, 0.3])).tolist()
    [1.0, 1.0, 2.0, 0.25]
    """
    exponents = np.rint(np.log2(np.asarray(scales, np.float64))).astype(np.int32)
    return np.ldexp(np.float32(1), exponents)


def weight_errors(
    weight: Float32[np.ndarray, "out n"],
    hessian: Float[np.ndarray, "n n"],
    scheme: Scheme,
    candidates: Candidates,
) -> Float32[np.ndarray, " k"]:
    """Return ``tr(D H D^T)`` of each candidate, with ``D = Q(W s) / s - W``.

    This is the squared error of the outputs on the tokens of ``hessian`` (``sum x x^T``), with
    float activations.
    """
    return np.asarray(
        _weight_errors(
            jnp.asarray(weight),
            jnp.asarray(hessian, jnp.float32),
            jnp.asarray(candidates),
            scheme,
        )
    )


def input_errors(
    weight: Float32[np.ndarray, "out n"],
    sample: Float32[np.ndarray, "t n"],
    row_weights: Float[np.ndarray, " t"],
    schemes: tuple[Scheme, Scheme],
    candidates: Candidates,
) -> Float32[np.ndarray, " k"]:
    """Return ``|(Q_x(x / s) - x / s) Q_w(W s)^T|^2`` of each candidate, summed over weighted rows.

    This is the part of the output error that the rounding of inputs adds; ``schemes`` are those of
    weights and inputs. The two parts of the error are nearly independent, so that the sum with
    :func:`weight_errors` is the error with both rounded.
    """
    return np.asarray(
        _input_errors(
            jnp.asarray(weight),
            jnp.asarray(sample),
            jnp.asarray(row_weights, jnp.float32),
            jnp.asarray(candidates),
            schemes,
        )
    )


@partial(jax.jit, static_argnames="scheme")
def _weight_errors(
    weight: Float32[Array, "out n"],
    hessian: Float32[Array, "n n"],
    candidates: Float32[Array, "k n"],
    scheme: Scheme,
) -> Float32[Array, " k"]:
    def error(scales: Array) -> Array:
        difference = scheme.fake_quantize(weight * scales) / scales - weight
        return jnp.sum(jnp.matmul(difference, hessian, precision=HIGHEST) * difference)

    errors: Array = jax.lax.map(error, candidates)
    return errors


@partial(jax.jit, static_argnames="schemes")
def _input_errors(
    weight: Float32[Array, "out n"],
    sample: Float32[Array, "t n"],
    row_weights: Float32[Array, " t"],
    candidates: Float32[Array, "k n"],
    schemes: tuple[Scheme, Scheme],
) -> Float32[Array, " k"]:
    of_weights, of_inputs = schemes

    def error(scales: Array) -> Array:
        rounded = of_weights.fake_quantize(weight * scales)
        x = sample / scales
        difference = of_inputs.fake_quantize(x) - x
        outputs = jnp.matmul(difference, rounded.T, precision=HIGHEST)
        return jnp.sum(row_weights[:, None] * outputs**2)

    errors: Array = jax.lax.map(error, candidates)
    return errors
