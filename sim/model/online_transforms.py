"""Hadamard transforms of activations at run time, before the number formats round them.

The arithmetic is that of :mod:`numerics.solvers.fast_hadamard`.
"""

from jaxtyping import Array, Float32

from numerics.solvers.fast_hadamard import online_hadamard
from sim.model.config import ModelConfig


def before_down(x: Float32[Array, "t inner"], config: ModelConfig) -> Float32[Array, "t inner"]:
    """Return the input of ``down`` as its weights expect it."""
    online = config.online
    return x if online is None or online.down is None else online_hadamard(x, online.down)


def before_o(x: Float32[Array, "t width"], config: ModelConfig) -> Float32[Array, "t width"]:
    """Return the input of ``o`` as its weights expect it: the heads mixed."""
    online = config.online
    if online is not None and online.o_values is not None:
        return online_hadamard(x, online.o_values)
    if online is None or online.o is None:
        return x
    heads = x.reshape(len(x), config.heads, config.head_dim).swapaxes(1, 2)
    return online_hadamard(heads, online.o).swapaxes(1, 2).reshape(x.shape)


def after_rope(
    x: Float32[Array, "heads t size"], config: ModelConfig
) -> Float32[Array, "heads t size"]:
    """Return queries or keys as they meet in the dot product."""
    online = config.online
    return x if online is None or online.qk is None else online_hadamard(x, online.qk)
