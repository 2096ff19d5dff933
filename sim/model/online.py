"""Hadamard transforms of activations at run time, before the number formats round them.

Weights or keys are transformed to match, so that the float model stays the same; see
:mod:`sim.sources.rotated`. The arithmetic is that of :mod:`numerics.solvers.fast_hadamard`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jaxtyping import Array, Float32

from numerics.solvers.fast_hadamard import check_blocks, online_hadamard

if TYPE_CHECKING:
    from sim.model.config import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Online:
    """Sizes of the Hadamard transforms of a model's activations; ``None`` switches one off.

    A size below the width transforms consecutive blocks. Sources: QuaRot (arXiv:2404.00456), R3
    and R4 of SpinQuant (arXiv:2405.16406).
    """

    #: Values in a block of the input of ``down``; divides the intermediate size.
    down: int | None = None
    #: Heads in a block of the input of ``o``, which are mixed value by value; divides the heads.
    o: int | None = None
    #: Values in a block of the input of ``o``, heads one after another; divides the heads' values.
    #: For head counts without a Hadamard matrix, instead of :attr:`o`.
    o_values: int | None = None
    #: Values in a block of each head of queries and of keys, after RoPE; divides the head size.
    qk: int | None = None

    def check(self, config: "ModelConfig") -> None:
        """Raise ValueError for a size that does not fit the model or has no Hadamard matrix."""
        if self.o is not None and self.o_values is not None:
            raise ValueError("the input of o has one online transform: over heads or over values")
        widths = (
            (config.intermediate_size, self.down),
            (config.heads, self.o),
            (config.heads * config.head_dim, self.o_values),
            (config.head_dim, self.qk),
        )
        for width, size in widths:
            if size is not None:
                check_blocks(width, size)


def before_down(x: Float32[Array, "t inner"], config: "ModelConfig") -> Float32[Array, "t inner"]:
    """Return the input of ``down`` as its weights expect it."""
    online = config.online
    return x if online is None or online.down is None else online_hadamard(x, online.down)


def before_o(x: Float32[Array, "t width"], config: "ModelConfig") -> Float32[Array, "t width"]:
    """Return the input of ``o`` as its weights expect it: the heads mixed."""
    online = config.online
    if online is not None and online.o_values is not None:
        return online_hadamard(x, online.o_values)
    if online is None or online.o is None:
        return x
    heads = x.reshape(len(x), config.heads, config.head_dim).swapaxes(1, 2)
    return online_hadamard(heads, online.o).swapaxes(1, 2).reshape(x.shape)


def after_rope(
    x: Float32[Array, "heads t size"], config: "ModelConfig"
) -> Float32[Array, "heads t size"]:
    """Return queries or keys as they meet in the dot product."""
    online = config.online
    return x if online is None or online.qk is None else online_hadamard(x, online.qk)
