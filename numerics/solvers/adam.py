"""Adam on a tree of arrays, inside traced loops."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

#: Constants of arXiv:1412.6980; the divisor is tiny because losses here are not scaled.
DECAY, SQUARE_DECAY, EPSILON = 0.9, 0.999, 1e-20


@dataclass(frozen=True, slots=True, kw_only=True)
class Adam:
    """Values on their way down a loss, with the running means of the gradient and its square."""

    values: Any
    mean: Any
    square: Any
    count: Array

    @classmethod
    def start(cls, values: Any) -> "Adam":
        """Return the state before the first step."""
        zeros = jax.tree.map(jnp.zeros_like, values)
        return cls(values=values, mean=zeros, square=zeros, count=jnp.float32(0))

    def step(self, gradient: Any, rate: float | Array) -> "Adam":
        """Return the state after one step."""
        count = self.count + 1
        mean = jax.tree.map(lambda m, g: DECAY * m + (1 - DECAY) * g, self.mean, gradient)
        square = jax.tree.map(
            lambda v, g: SQUARE_DECAY * v + (1 - SQUARE_DECAY) * g * g, self.square, gradient
        )
        # Both means start at 0; these divisors undo it.
        first, second = 1 - DECAY**count, 1 - SQUARE_DECAY**count
        values = jax.tree.map(
            lambda p, m, v: p - rate * (m / first) / (jnp.sqrt(v / second) + EPSILON),
            self.values,
            mean,
            square,
        )
        return Adam(values=values, mean=mean, square=square, count=count)


jax.tree_util.register_dataclass(
    Adam, data_fields=["values", "mean", "square", "count"], meta_fields=[]
)
