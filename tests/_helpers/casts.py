"""Casts of any number of inputs by one compiled program per format."""

import jax.numpy as jnp
import numpy as np

from numerics import encode

#: Number of inputs of every compiled cast, so that all tests share one program per format; odd, so
#: that it is not a multiple of the processor's vector length.
COUNT = 2**16 + 7


def encoded(fmt, x: np.ndarray, **options) -> np.ndarray:
    """Return the codes of a row of inputs, :data:`COUNT` at a time."""
    rows = np.zeros((-(-len(x) // COUNT), COUNT), np.float32)
    rows.ravel()[-len(x) :] = x
    return np.concatenate([encode(fmt, jnp.asarray(row), **options) for row in rows])[-len(x) :]
