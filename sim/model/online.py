"""Sizes of the Hadamard transforms of activations at run time.

Weights or keys are transformed to match, so that the float model stays the same; see
:mod:`sim.sources.rotated`. The transforms are in :mod:`sim.model.online_transforms`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numerics.solvers.hadamard import check_blocks

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
