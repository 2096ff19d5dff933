"""Casts of any number of inputs by one compiled program a format."""

import jax.numpy as jnp
import numpy as np

from numerics import encode

#: Inputs of a cast, always as many, so that all tests share one program a format. Odd, so that
#: vectors of the processor leave some over.
COUNT = 2**16 + 7


def encoded(fmt, x: np.ndarray, **options) -> np.ndarray:
    """Return the codes of a row of inputs, :data:`COUNT` at a time."""
    rows = np.zeros((-(-len(x) // COUNT), COUNT), np.float32)
    rows.ravel()[-len(x) :] = x
    return np.concatenate([encode(fmt, jnp.asarray(row), **options) for row in rows])[-len(x) :]
