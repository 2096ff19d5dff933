"""The rounder of N:M sparsity: the mask of a block is chosen when the block is reached.

Source: SparseGPT, arXiv:2301.00774: the block's values, with the feedback of all earlier columns,
are kept by ``(w_j / U_jj)^2``; pruned values become zero and kept ones are quantized, each with
feedback to the next.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from numerics.schemes.tensor import QuantizedTensor
from numerics.solvers.contract import Codes, Importance, Matrix, Root, Side, Spread, Unit
from numerics.solvers.element_rounder import ElementRounder
from numerics.structures.sparse import Sparse


@dataclass(frozen=True, slots=True)
class SparseRounder:
    """Blocks of M columns, N of which are kept."""

    scheme: Sparse

    @property
    def unit(self) -> int:
        """Number of columns of a block."""
        return self.scheme.block

    @property
    def dense(self) -> ElementRounder:
        """The rounder of the kept values."""
        return ElementRounder(self.scheme.dense)

    def fit(self, weight: Matrix, importance: Importance | None) -> Side:
        """Return the scales of groups, for the values of largest (weighted) magnitude."""
        scores = jnp.abs(weight) * (1 if importance is None else jnp.sqrt(importance))
        blocks = jnp.pad(scores, ((0, 0), (0, -weight.shape[1] % self.unit)))
        mask = _keep(blocks.reshape(len(weight), -1, self.unit), self.scheme.keep)
        mask = mask.reshape(len(weight), -1)[:, : weight.shape[1]]
        return self.dense.fit(jnp.where(mask, weight, 0), importance)

    def spread(self, side: Side, shape: tuple[int, ...]) -> Spread:
        """Return the side data of the columns of each block."""
        shared, by_column = self.dense.spread(side, shape)

        def in_units(leaf: Array) -> Array:
            padded = jnp.pad(leaf, ((0, -shape[1] % self.unit), (0, 0)), mode="edge")
            return padded.reshape(-1, self.unit, *leaf.shape[1:])

        return Spread(shared, jax.tree.map(in_units, by_column))

    def round(self, target: Unit, shared: Side, of_unit: Side, root: Root) -> tuple[Codes, Unit]:
        """Return codes and mask, and the values, zero where pruned."""
        diagonal = jnp.diag(root)
        mask = _keep((jnp.abs(target) * diagonal[:, None]).T, self.scheme.keep).T
        gains = root / jnp.where(diagonal > 0, diagonal, 1)
        codes, values = [], jnp.zeros_like(target)
        for place in range(self.unit):
            # Rows of the difference from this column on are not read: the factor is triangular.
            before = np.arange(self.unit) < place
            moved = target[place] + jnp.where(before, gains[:, place], 0) @ (target - values)
            of_column = jax.tree.map(lambda leaf, place=place: leaf[place], of_unit)
            code, value = self.dense.round(moved[None], shared, of_column, root[:1, :1])
            codes.append(code[0])
            values = values.at[place].set(jnp.where(mask[place], value[0], 0))
        return (jnp.stack(codes), mask), values

    def tensor(self, codes: Codes, side: Side, shape: tuple[int, ...]) -> QuantizedTensor:
        """Return codes and positions of the kept values, with the scales."""
        dense, mask = (jnp.moveaxis(leaf, 2, 0) for leaf in codes)
        positions = jnp.argsort(~mask, axis=-1, stable=True)[..., : self.scheme.keep]
        kept = jnp.take_along_axis(dense, positions, axis=-1)
        groups, _ = side
        arrays = {
            "codes": kept,
            "positions": positions.astype(jnp.uint8),
            "scales": groups.scales,
        }
        return QuantizedTensor(arrays=arrays, scheme=self.scheme, shape=shape)


def _keep(scores: Array, count: int) -> Array:
    """Whether a score is among the ``count`` largest of its block, the first on ties."""
    ranks = jnp.argsort(jnp.argsort(-scores, axis=-1, stable=True), axis=-1, stable=True)
    return ranks < count
