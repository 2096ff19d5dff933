"""Rounding to a format whose derivative is that of the identity (the straight-through estimator).

The derivative of rounding itself is zero almost everywhere, so that nothing could be learned
through it. Source: Bengio, Leonard and Courville, arXiv:1308.3432.
"""

from functools import partial

import jax
from jaxtyping import Array, Float32

from numerics import Scheme, fake_quantize


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def rounded(x: Float32[Array, "*shape"], scheme: Scheme) -> Float32[Array, "*shape"]:
    """Return ``fake_quantize(x, scheme)``."""
    result: Float32[Array, "*shape"] = fake_quantize(x, scheme)
    return result


@rounded.defjvp
def _identity(scheme: Scheme, x: tuple[Array], tangent: tuple[Array]) -> tuple[Array, Array]:
    return rounded(x[0], scheme), tangent[0]
